#include "vmm/control/function_session.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/file.h"

namespace mayfly {
namespace {

using control::FrameType;

// A guest whose frames are all there before the session asks for them.
class FunctionSessionTest : public testing::Test {
 protected:
  void SetUp() override { stream_ = channel_.Accept(control::kPort).value(); }

  void Guest(FrameType type, uint64_t invocation, std::string_view payload) {
    const auto bytes = control::Encode(type, invocation, AsBytes(payload));
    const iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    ASSERT_TRUE(stream_->Write({&piece, 1}));
  }

  // Waits until there is room for it, as a guest does; not when the channel is closed.
  void GuestAtLast(FrameType type, uint64_t invocation, std::string_view payload) {
    const auto bytes = control::Encode(type, invocation, AsBytes(payload));
    const iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    while (true) {
      const auto written = stream_->Write({&piece, 1});
      if (!written || *written != VsockStream::kWouldBlock) return;
      std::this_thread::yield();
    }
  }

  Result<InvocationResult> Invoke(std::string_view event) {
    return session_.Invoke(AsBytes(event), {"request-1", std::chrono::milliseconds(50)});
  }

  static ControlChannel::Clock::time_point Soon() {
    return ControlChannel::Clock::now() + std::chrono::milliseconds(20);
  }

  ControlChannel channel_;
  std::unique_ptr<VsockStream> stream_;
  std::string log_;
  FunctionSession session_{&channel_, [this](const LogChunk& chunk) { log_ += chunk.text; }};
};

TEST_F(FunctionSessionTest, LoadEndsWithReady) {
  Guest(FrameType::kHello, 0, R"({"version":1})");
  Guest(FrameType::kReady, 0, R"({"init_us":5})");
  ASSERT_TRUE(session_.WaitHello(Soon()));
  ASSERT_TRUE(session_.Load("{}"));
  EXPECT_EQ(session_.ready_json(), R"({"init_us":5})");
}

TEST_F(FunctionSessionTest, LoadOfAHandlerThatDoesNotStartIsAHandlerError) {
  Guest(FrameType::kError, 0, R"({"errorType":"Runtime.ImportHandlerError","errorMessage":"no"})");
  const auto loaded = session_.Load("{}");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code(), ErrorCode::kHandler);
  EXPECT_EQ(loaded.error().message(), "Runtime.ImportHandlerError: no");
}

TEST_F(FunctionSessionTest, AHandlerThatAwaitsItsRestoreSaysSo) {
  Guest(FrameType::kReady, 0, R"({"awaits_restore":true})");
  ASSERT_TRUE(session_.Load("{}"));
  EXPECT_TRUE(session_.awaits_restore());
}

TEST_F(FunctionSessionTest, ALifeThatCannotBeginEndsTheInvocation) {
  Guest(FrameType::kError, 0, R"({"errorType":"Runtime.RestoreError","errorMessage":"no clock"})");
  const auto result = Invoke("event");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
  EXPECT_EQ(result.error().message(), "Runtime.RestoreError: no clock");
}

TEST_F(FunctionSessionTest, AnotherProtocolVersionIsRefused) {
  Guest(FrameType::kHello, 0, R"({"version":2})");
  EXPECT_EQ(session_.WaitHello(Soon()).error().code(), ErrorCode::kGuest);
}

TEST_F(FunctionSessionTest, LoadOfASilentGuestTimesOut) {
  EXPECT_EQ(session_.WaitHello(Soon()).error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(session_.Load("{}", std::chrono::milliseconds(20)).error().code(), ErrorCode::kTimeout);
}

TEST_F(FunctionSessionTest, InvokeReturnsTheChunksOfTheAnswer) {
  Guest(FrameType::kChunk, 1, "ans");
  Guest(FrameType::kChunk, 1, "wer");
  Guest(FrameType::kDone, 1, R"({"duration_us":42,"max_memory_bytes":7})");
  const auto result = Invoke("event");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(AsText(result->answer), "answer");
  EXPECT_FALSE(result->error);
  EXPECT_EQ(result->handler_us, 42);
  EXPECT_EQ(result->max_memory_bytes, 7);
}

TEST_F(FunctionSessionTest, InvokeReturnsTheHandlersError) {
  Guest(FrameType::kError, 1, R"({"errorType":"Function.Timeout","errorMessage":"late"})");
  const auto result = Invoke("event");
  ASSERT_TRUE(result && result->error);
  EXPECT_EQ(result->error->type, "Function.Timeout");
  EXPECT_EQ(result->error->message, "late");
}

TEST_F(FunctionSessionTest, LogFramesGoToTheCallback) {
  Guest(FrameType::kLog, 1, "\x01hello\n");
  Guest(FrameType::kDone, 1, "{}");
  ASSERT_TRUE(Invoke("event"));
  EXPECT_EQ(log_, "hello\n");
}

TEST_F(FunctionSessionTest, AnswerForAnotherInvocationBreaksTheProtocol) {
  Guest(FrameType::kChunk, 2, "not yours");
  EXPECT_EQ(Invoke("event").error().code(), ErrorCode::kGuest);
}

TEST_F(FunctionSessionTest, SecondAnswerBreaksTheNextInvocation) {
  Guest(FrameType::kDone, 1, "{}");
  Guest(FrameType::kDone, 1, "{}");
  ASSERT_TRUE(Invoke("event"));
  EXPECT_EQ(Invoke("event").error().code(), ErrorCode::kGuest);
}

TEST_F(FunctionSessionTest, SilentHandlerTimesOut) {
  const auto result = Invoke("event");
  ASSERT_TRUE(result && result->error);
  EXPECT_EQ(result->error->type, "Function.Timeout");
}

TEST_F(FunctionSessionTest, EventAboveTheLimitIsRefusedBeforeAnythingIsSent) {
  const std::string event(control::kMaxEvent + 1, 'x');
  EXPECT_EQ(Invoke(event).error().code(), ErrorCode::kTooLarge);
  const iovec nowhere{nullptr, 0};
  EXPECT_EQ(*stream_->Read({&nowhere, 1}), VsockStream::kWouldBlock);
}

TEST_F(FunctionSessionTest, ErrorThatIsNoJsonIsStillAnError) {
  Guest(FrameType::kError, 1, "{{{{");
  const auto result = Invoke("event");
  ASSERT_TRUE(result && result->error);
  EXPECT_EQ(result->error->type, "Runtime.Unknown");
}

TEST_F(FunctionSessionTest, LogAboveTheLimitIsDroppedAndCounted) {
  const std::string line = "\x01" + std::string(63 * 1024 - 1, 'x') + "\n";
  constexpr int kFrames = 40;
  std::thread guest([&] {
    for (int i = 0; i < kFrames; ++i) GuestAtLast(FrameType::kLog, 1, line);
    GuestAtLast(FrameType::kDone, 1, R"({"log_dropped_bytes":5})");
  });
  const auto result = session_.Invoke(AsBytes("event"), {"id", std::chrono::seconds(60)});
  guest.join();
  ASSERT_TRUE(result && !result->error);
  EXPECT_EQ(log_.size(), FunctionSession::kMaxLog);
  EXPECT_EQ(result->log_dropped_bytes, kFrames * (line.size() - 1) - log_.size() + 5);

  // Of the next invocation's log, nothing is gone yet.
  log_.clear();
  Guest(FrameType::kLog, 2, "\x01once more");
  Guest(FrameType::kDone, 2, "{}");
  EXPECT_EQ(Invoke("event")->log_dropped_bytes, 0U);
  EXPECT_EQ(log_, "once more");
}

// What a guest says in place of an answer: at some time it has to be enough.
class TalkativeGuestTest : public FunctionSessionTest,
                           public testing::WithParamInterface<FrameType> {};

TEST_P(TalkativeGuestTest, TimesOutLikeASilentOne) {
  std::atomic<bool> enough{false};
  std::thread guest([&] {
    // If nobody stopped it, it would answer in the end.
    const auto end = ControlChannel::Clock::now() + std::chrono::seconds(20);
    while (!enough && ControlChannel::Clock::now() < end) GuestAtLast(GetParam(), 1, "\x01");
    GuestAtLast(FrameType::kDone, 1, "{}");
  });
  const auto result = Invoke("event");
  enough = true;
  // It may wait for room.
  channel_.Close("the test is over");
  guest.join();
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_TRUE(result->error);
  EXPECT_EQ(result->error->type, "Function.Timeout");
}

INSTANTIATE_TEST_SUITE_P(Frames, TalkativeGuestTest,
                         testing::Values(FrameType::kLog, FrameType::kChunk));

TEST_F(FunctionSessionTest, WhatAPausedGuestHasLoggedIsTaken) {
  for (const char* text : {"\x03one ", "\x03two ", "\x03three"}) Guest(FrameType::kLog, 0, text);
  ASSERT_TRUE(session_.TakeRest());
  EXPECT_EQ(log_, "one two three");
  Guest(FrameType::kLog, 0, "\x03more");
  Guest(FrameType::kError, 0, R"({"errorType":"Runtime.X","errorMessage":"no"})");
  EXPECT_EQ(session_.TakeRest().error().message(), "Runtime.X: no");
}

}  // namespace
}  // namespace mayfly
