#include "vmm/control/function_session.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mayfly
