#include "base/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/thread.h"
#include "tests/fakes/loop.h"

namespace mayfly {
namespace {

using std::chrono::milliseconds;

class EventLoopTest : public ::testing::Test {
 protected:
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  EventFd event_ = *EventFd::Create();
};

TEST_F(EventLoopTest, WatchIsCalledWithTheEvents) {
  uint32_t events = 0;
  ASSERT_TRUE(loop_->Watch(event_.fd(), EPOLLIN | EPOLLOUT, [&](uint32_t got) { events = got; }));
  event_.Signal();

  RunReady(loop_.get());

  EXPECT_EQ(events, EPOLLIN | EPOLLOUT);
}

TEST_F(EventLoopTest, WatchIsNotCalledWhileNothingIsReady) {
  int calls = 0;
  ASSERT_TRUE(loop_->Watch(event_.fd(), EPOLLIN, [&](uint32_t) { ++calls; }));
  RunReady(loop_.get());
  EXPECT_EQ(calls, 0);
}

TEST_F(EventLoopTest, WatchOfABadDescriptorFails) {
  EXPECT_FALSE(loop_->Watch(-1, EPOLLIN, [](uint32_t) {}));
}

TEST_F(EventLoopTest, RemovedWatchIsNotCalled) {
  int calls = 0;
  const auto id = *loop_->Watch(event_.fd(), EPOLLIN, [&](uint32_t) { ++calls; });
  event_.Signal();

  loop_->Remove(id);
  loop_->Remove(id);
  RunReady(loop_.get());

  EXPECT_EQ(calls, 0);
}

TEST_F(EventLoopTest, WatchMayRemoveItself) {
  int calls = 0;
  EventLoop::WatchId id = 0;
  id = *loop_->Watch(event_.fd(), EPOLLIN, [&](uint32_t) {
    ++calls;
    loop_->Remove(id);
  });
  event_.Signal();

  RunReady(loop_.get());
  RunReady(loop_.get());

  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, WatchRemovedByAnotherInTheSameRoundIsNotCalled) {
  const EventFd second_event = *EventFd::Create();
  int calls = 0;
  EventLoop::WatchId first = 0;
  EventLoop::WatchId second = 0;
  first = *loop_->Watch(event_.fd(), EPOLLIN, [&](uint32_t) {
    ++calls;
    loop_->Remove(first);
    loop_->Remove(second);
  });
  second = *loop_->Watch(second_event.fd(), EPOLLIN, [&](uint32_t) {
    ++calls;
    loop_->Remove(first);
    loop_->Remove(second);
  });
  event_.Signal();
  second_event.Signal();

  RunReady(loop_.get());

  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, ModifyChangesTheEvents) {
  int calls = 0;
  const auto id = *loop_->Watch(event_.fd(), 0, [&](uint32_t) { ++calls; });
  event_.Signal();
  RunReady(loop_.get());
  EXPECT_EQ(calls, 0);

  ASSERT_TRUE(loop_->Modify(id, EPOLLIN));
  RunReady(loop_.get());

  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(loop_->Modify(id + 1, EPOLLIN));
}

TEST_F(EventLoopTest, PostedWorkRunsInOrder) {
  std::vector<int> order;
  loop_->Post([&] { order.push_back(1); });
  loop_->Post([&] { order.push_back(2); });

  RunReady(loop_.get());

  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLoopTest, WorkPostedByWorkRunsInTheNextRound) {
  std::vector<int> order;
  loop_->Post([&] {
    order.push_back(1);
    loop_->Post([&] {
      order.push_back(2);
      loop_->Stop();
    });
  });

  ASSERT_TRUE(loop_->Run());

  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLoopTest, TimersRunInTheOrderOfTheirTimes) {
  std::vector<int> order;
  loop_->After(milliseconds(20), [&] {
    order.push_back(2);
    loop_->Stop();
  });
  loop_->After(milliseconds(1), [&] { order.push_back(1); });

  const auto start = EventLoop::Clock::now();
  ASSERT_TRUE(loop_->Run());

  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_GE(EventLoop::Clock::now() - start, milliseconds(20));
}

TEST_F(EventLoopTest, LateTimersRunInTheOrderOfTheirTimes) {
  std::vector<int> order;
  loop_->After(milliseconds(2), [&] {
    order.push_back(2);
    loop_->Stop();
  });
  loop_->After(milliseconds(1), [&] { order.push_back(1); });
  std::this_thread::sleep_for(milliseconds(5));

  ASSERT_TRUE(loop_->Run());

  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLoopTest, CancelledTimerDoesNotRun) {
  bool ran = false;
  const auto id = loop_->After(milliseconds(1), [&] { ran = true; });
  loop_->After(milliseconds(5), [&] { loop_->Stop(); });

  loop_->Cancel(id);
  ASSERT_TRUE(loop_->Run());

  EXPECT_FALSE(ran);
}

TEST_F(EventLoopTest, StopBeforeRunEndsItAtOnce) {
  loop_->Stop();
  EXPECT_TRUE(loop_->Run());
}

TEST_F(EventLoopTest, OtherThreadsMayPostWatchAndStop) {
  std::atomic<int> calls = 0;
  Thread runner("loop", [this] { EXPECT_TRUE(loop_->Run()); });

  loop_->After(milliseconds(0), [&] { ++calls; });
  const auto id = *loop_->Watch(event_.fd(), EPOLLIN, [&](uint32_t) {
    event_.Clear();
    ++calls;
    loop_->Post([&] {
      ++calls;
      loop_->Stop();
    });
  });
  event_.Signal();
  runner.Join();
  loop_->Remove(id);

  EXPECT_EQ(calls, 3);
}

TEST(EventFdTest, ClearTakesAllSignalsAtOnce) {
  const EventFd event = *EventFd::Create();
  EXPECT_FALSE(event.Clear());
  event.Signal();
  event.Signal();
  EXPECT_TRUE(event.Clear());
  EXPECT_FALSE(event.Clear());
}

}  // namespace
}  // namespace mayfly
