#include "jailer/cgroup.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <thread>

#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

// What the limits do, with whichever version of cgroups this host has.
class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoJails(); !why.empty()) GTEST_SKIP() << why;
    options_.record_directory = records_.path();
  }
  // Skips the test if this host cannot limit that.
  [[nodiscard]] bool Can() const {
    const auto places =
        Cgroup::PlacesFor(CgroupMounts::OfThisProcess().value(), options_.id, options_.cgroup);
    return places.has_value();
  }

  RecordDirectory records_;
  JailOptions options_;
};

TEST_F(CgroupTest, TheMemoryLimitKillsThatMachineAndSaysSo) {
  options_.cgroup.memory_bytes = 32 << 20;
  if (!Can()) GTEST_SKIP() << "no memory controller";
  const JailEnd end = RunInJail(options_, [] {
    constexpr size_t kSize = 256 << 20;
    auto* const memory = static_cast<volatile char*>(
        ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < kSize; i += 4096) memory[i] = 1;
    return 0;
  });
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_TRUE(end.out_of_memory);
  EXPECT_TRUE(end.limit_was_hit);
}

TEST_F(CgroupTest, AMachineThatIsKilledOtherwiseWasNotOutOfMemory) {
  options_.cgroup.memory_bytes = 32 << 20;
  if (!Can()) GTEST_SKIP() << "no memory controller";
  auto jail = Jail::Create(options_).value();
  ASSERT_TRUE(jail->Start({}, [] { return ::pause(); }));
  ::kill(jail->process(), SIGKILL);
  const JailEnd end = jail->Wait().value();
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_FALSE(end.out_of_memory);
  EXPECT_FALSE(end.limit_was_hit);
}

TEST_F(CgroupTest, TheProcessLimitCountsThreads) {
  options_.cgroup.processes = 4;
  if (!Can()) GTEST_SKIP() << "no pids controller";
  const JailEnd end = RunInJail(options_, [] {
    int started = 0;
    while (started < 10) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::pause();
        ::_exit(0);
      }
      if (child < 0) break;
      ++started;
    }
    return started;
  });
  EXPECT_EQ(end.status, 3);  // And the first process.
}

TEST_F(CgroupTest, TheCpuLimitSlowsItDown) {
  options_.cgroup.cpu_percent = 10;
  if (!Can()) GTEST_SKIP() << "no cpu controller";
  // 0.3 s of work in 10 % of a processor take 3 s; half of that is far from what it takes else.
  const JailEnd end = RunInJail(options_, [] {
    const auto start = std::chrono::steady_clock::now();
    timespec used{};
    while (used.tv_sec == 0 && used.tv_nsec < 300'000'000) {
      (void)::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    }
    return std::chrono::steady_clock::now() - start > std::chrono::milliseconds(1500) ? 0 : 1;
  });
  EXPECT_EQ(end.status, 0);
}

TEST_F(CgroupTest, GroupsThatAreNotOursAreNotRemoved) {
  EXPECT_FALSE(Cgroup::Remove({"/sys/fs/cgroup", "machine.slice"}));
  EXPECT_FALSE(Cgroup::Remove({"/sys/fs/cgroup", "other/x"}));
  EXPECT_FALSE(Cgroup::Remove({"/sys/fs/cgroup", "mayfly/.."}));
  EXPECT_FALSE(Cgroup::Remove({"/sys/fs/cgroup", "../mayfly/x"}));
}

}  // namespace
}  // namespace mayfly
