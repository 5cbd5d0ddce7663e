#include <thread>
#include <vector>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

class ApiPoolTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    if (!IsSkipped()) snapshot_ = OpenSnapshot();
  }
  void TearDown() override {
    if (snapshot_ != nullptr) {
      EXPECT_EQ(mayfly_snapshot_close(snapshot_), MAYFLY_OK);
    }
    ApiFixture::TearDown();
  }

  [[nodiscard]] mayfly_pool* Pool(uint32_t count, int refill) const {
    mayfly_pool_options options = MAYFLY_POOL_OPTIONS_INIT;
    options.count = count;
    options.refill = refill;
    mayfly_pool* pool = nullptr;
    EXPECT_EQ(mayfly_pool_create(snapshot_, &options, &pool), MAYFLY_OK) << ErrorOf(snapshot_);
    return pool;
  }

  [[nodiscard]] mayfly_function* CloneFrom(mayfly_pool* pool) const {
    mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
    options.pool = pool;
    mayfly_function* function = nullptr;
    EXPECT_EQ(mayfly_restore(snapshot_, &options, &function), MAYFLY_OK) << ErrorOf(snapshot_);
    return function;
  }

  mayfly_snapshot* snapshot_ = nullptr;
};

TEST_F(ApiPoolTest, ClonesInShellsAnswer) {
  mayfly_pool* const pool = Pool(2, 0);
  mayfly_function* const one = CloneFrom(pool);
  mayfly_function* const two = CloneFrom(pool);
  EXPECT_EQ(mayfly_pool_available(pool), 0);
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
  EXPECT_EQ(Invoke(one, "one"), "one");
  EXPECT_EQ(Invoke(two, "two"), "two");
  EXPECT_EQ(Invoke(one, "again"), "again");
  EXPECT_EQ(mayfly_function_close(one), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(two), MAYFLY_OK);
}

TEST_F(ApiPoolTest, EmptyPoolCostsTimeAndNothingElse) {
  mayfly_pool* const pool = Pool(0, 0);
  mayfly_function* const function = CloneFrom(pool);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
}

TEST_F(ApiPoolTest, PoolOutlivesItsSnapshotsHandle) {
  mayfly_pool* const pool = Pool(1, 0);
  EXPECT_EQ(mayfly_snapshot_close(snapshot_), MAYFLY_OK);
  snapshot_ = nullptr;
  EXPECT_EQ(mayfly_pool_fill(pool, 1), MAYFLY_OK);
  EXPECT_EQ(mayfly_pool_available(pool), 2);
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
}

TEST_F(ApiPoolTest, TakenShellsAreMadeAgain) {
  mayfly_pool* const pool = Pool(1, 1);
  EXPECT_EQ(mayfly_function_close(CloneFrom(pool)), MAYFLY_OK);
  for (int waited = 0; waited < kMostMilliseconds && mayfly_pool_available(pool) == 0; ++waited) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(mayfly_pool_available(pool), 1);
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
}

TEST_F(ApiPoolTest, MisuseIsRefused) {
  mayfly_pool* pool = nullptr;
  mayfly_pool_options huge = MAYFLY_POOL_OPTIONS_INIT;
  huge.count = UINT32_MAX;
  EXPECT_EQ(mayfly_pool_create(snapshot_, &huge, &pool), MAYFLY_E_TOO_LARGE);
  pool = Pool(1, 0);
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.pool = pool;
  options.memory = MAYFLY_MEMORY_UFFD;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot_, &options, &function), MAYFLY_E_INVALID);
  mayfly_snapshot* const other = OpenSnapshot();
  options.memory = MAYFLY_MEMORY_MAP;
  EXPECT_EQ(mayfly_restore(other, &options, &function), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_snapshot_close(other), MAYFLY_OK);
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
  EXPECT_EQ(mayfly_restore(snapshot_, &options, &function), MAYFLY_E_HANDLE);
}

// As documented: any thread, on the same snapshot and the same pool.
TEST_F(ApiPoolTest, ThreadsShareAPool) {
  mayfly_pool* const pool = Pool(4, 1);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this, pool, thread] {
      for (int i = 0; i < 5; ++i) {
        mayfly_function* const function = CloneFrom(pool);
        const std::string event = std::to_string(thread) + "-" + std::to_string(i);
        EXPECT_EQ(Invoke(function, event), event);
        EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
