#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>
#include <thread>

#include "base/file.h"
#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

constexpr int kCycles = 1000;

// Supervisors that are killed at any moment, and what is left of their jails.
class KillTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoJails(); !why.empty()) GTEST_SKIP() << why;
    options_.record_directory = records_.path();
    options_.cgroup.memory_bytes = 64 << 20;
    options_.cgroup.processes = 10;
    const auto places =
        Cgroup::PlacesFor(CgroupMounts::OfThisProcess().value(), options_.id, options_.cgroup);
    if (!places) GTEST_SKIP() << places.error().message();
    places_ = *places;
  }

  // Starts a jail over and over, in a process that dies of it.
  [[noreturn]] void Supervise() const {
    while (true) {
      (void)RunInJail(options_, [] { return 0; });
    }
  }
  [[nodiscard]] static size_t Mounts() {
    const auto text = ReadFile("/proc/self/mountinfo", 1 << 24).value();
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }
  // A process that was forked just before its supervisor died has the record's lock until it looks
  // around and ends: as long as that, the jail is alive.
  bool CollectAll(size_t* removed) const {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      const auto result = CollectJails(records_.path());
      if (!result || !result->failures.empty()) return false;
      *removed += result->removed;
      if (result->alive == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  [[nodiscard]] bool AnybodyLeft() const {
    return std::ranges::any_of(places_, [](const Cgroup::Place& place) {
      return fs::exists(place.mount + "/" + place.path);
    });
  }

  RecordDirectory records_;
  JailOptions options_;
  std::vector<Cgroup::Place> places_;
};

TEST_F(KillTest, AfterTheCollectorNothingIsLeftOfJailsWhoseSupervisorsWereKilled) {
  const size_t mounts = Mounts();
  std::mt19937 random(7);
  size_t collected = 0;
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    const pid_t supervisor = ::fork();
    if (supervisor == 0) Supervise();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 6000));
    ::kill(supervisor, SIGKILL);
    ::waitpid(supervisor, nullptr, 0);
    ASSERT_TRUE(CollectAll(&collected)) << cycle;
    ASSERT_FALSE(AnybodyLeft()) << cycle;
  }
  EXPECT_TRUE(fs::is_empty(records_.path()));
  EXPECT_EQ(Mounts(), mounts);
  EXPECT_GT(collected, 0U);
}

}  // namespace
}  // namespace mayfly
