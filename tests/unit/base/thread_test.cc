#include "base/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <csignal>
#include <string>

namespace mayfly {
namespace {

TEST(ThreadTest, DestructorJoins) {
  std::atomic<bool> done = false;
  {
    const Thread thread("worker", [&] { done = true; });
  }
  EXPECT_TRUE(done);
}

TEST(ThreadTest, CarriesItsName) {
  std::string name;
  Thread thread("vcpu-0", [&] {
    std::array<char, 16> buffer{};
    pthread_getname_np(pthread_self(), buffer.data(), buffer.size());
    name = buffer.data();
  });
  thread.Join();
  EXPECT_EQ(name, "vcpu-0");
}

TEST(ThreadTest, BlocksSignalsInTheThreadOnly) {
  bool blocked_inside = false;
  Thread thread("worker", [&] {
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, nullptr, &set);
    blocked_inside = sigismember(&set, SIGTERM) == 1;
  });
  thread.Join();
  sigset_t set;
  pthread_sigmask(SIG_BLOCK, nullptr, &set);

  EXPECT_TRUE(blocked_inside);
  EXPECT_EQ(sigismember(&set, SIGTERM), 0);
}

TEST(ThreadTest, MoveAssignmentJoinsWhatWasHeld) {
  std::atomic<bool> done = false;
  Thread thread("first", [&] { done = true; });

  thread = Thread("second", [] {});

  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace mayfly
