#include "snapshot/stall_watch.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "base/thread.h"
#include "snapshot/userfaultfd.h"

namespace mayfly {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kPage = GuestMemory::kPageSize;

// Memory whose faults the test itself answers, or does not. Time is what the test says it is.
class StallWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    auto uffd = Userfaultfd::Create();
    if (!uffd) GTEST_SKIP() << uffd.error().message();
    uffd_ = std::make_unique<Userfaultfd>(std::move(*uffd));
    ASSERT_TRUE(uffd_->Register(host(), memory_->size()));
    watch_ = std::make_unique<StallWatch>(
        StallWatch::Create(uffd_->fd(), PagedRegions::Of(*memory_), milliseconds(100)).value());
  }

  [[nodiscard]] uint64_t host() const { return PagedRegions::Of(*memory_).regions().front().host; }

  // A thread that touches the page, once it waits.
  Thread Touch(uint64_t page) {
    Thread thread("touch", [this, page] {
      uint8_t byte = 0;
      EXPECT_TRUE(memory_->ReadValue(GuestAddress{page * kPage}, &byte));
    });
    while (uffd_->Read()->empty()) std::this_thread::yield();
    return thread;
  }

  void Fill(uint64_t page) { ASSERT_TRUE(uffd_->Copy(host() + page * kPage, contents_)); }

  [[nodiscard]] bool StalledAfter(int ms) { return watch_->Stalled(start_ + milliseconds(ms)); }

  const std::array<uint8_t, kPage> contents_{};
  const StallWatch::Clock::time_point start_ = StallWatch::Clock::now();
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(1 << 20);
  std::unique_ptr<Userfaultfd> uffd_;
  std::unique_ptr<StallWatch> watch_;
};

TEST_F(StallWatchTest, NobodyWaitsForever) {
  EXPECT_FALSE(StalledAfter(0));
  EXPECT_FALSE(StalledAfter(10'000));
}

TEST_F(StallWatchTest, AFaultThatIsNotAnsweredIsAStallAfterTheDeadline) {
  const Thread waits = Touch(3);
  EXPECT_FALSE(StalledAfter(0));
  EXPECT_FALSE(StalledAfter(99));
  EXPECT_TRUE(StalledAfter(100));
  Fill(3);
}

TEST_F(StallWatchTest, APageThatComesBeginsItAnew) {
  const Thread waits = Touch(3);
  EXPECT_FALSE(StalledAfter(0));
  Fill(7);
  EXPECT_FALSE(StalledAfter(100));
  EXPECT_FALSE(StalledAfter(199));
  EXPECT_TRUE(StalledAfter(200));
  Fill(3);
}

TEST_F(StallWatchTest, AnAnswerEndsIt) {
  Thread waits = Touch(3);
  EXPECT_FALSE(StalledAfter(0));
  Fill(3);
  waits.Join();
  EXPECT_FALSE(StalledAfter(100));
}

TEST_F(StallWatchTest, ItLooksMoreOftenWhileSomebodyWaits) {
  const auto idle = watch_->interval();
  const Thread waits = Touch(3);
  EXPECT_FALSE(StalledAfter(0));
  EXPECT_LT(watch_->interval(), idle);
  Fill(3);
}

}  // namespace
}  // namespace mayfly
