#include "guest-init/native_channel.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/control_protocol.h"
#include "tests/unit/guest-init/loop_test_support.h"

namespace mayfly::init {
namespace {

class NativeChannelTest : public testing::Test {
 protected:
  NativeChannelTest() {
    SocketPair pair = MakeSocketPair();
    handler_ = std::move(pair.theirs);
    auto channel = NativeChannel::Create(std::move(pair.ours), loop_.get(), &observer_);
    EXPECT_TRUE(channel);
    channel_ = std::move(*channel);
  }

  void Send(std::span<const uint8_t> bytes) {
    ASSERT_TRUE(WriteAll(handler_.get(), bytes, "socket"));
  }
  void SendHeader(uint32_t type, uint64_t length, uint32_t reserved = 0) {
    const mayfly_native_header header{type, reserved, length};
    Send(BytesOf(header));
  }
  void SendMessage(uint32_t type, std::string_view payload) {
    SendHeader(type, payload.size());
    Send(AsBytes(payload));
  }
  void SendReady(uint32_t version, uint32_t hooks) {
    const mayfly_native_ready ready{version, hooks};
    SendHeader(MAYFLY_NATIVE_READY, sizeof(ready));
    Send(BytesOf(ready));
  }
  void Start(uint32_t hooks = 0) {
    SendReady(MAYFLY_NATIVE_VERSION, hooks);
    ASSERT_TRUE(RunUntil(*loop_, [this] { return observer_.ready == 1; }));
  }
  void StartAndDeliver() {
    Start();
    channel_->Deliver(MakeInvocation("r1", "hello"));
    std::array<uint8_t, 512> message;
    ASSERT_GT(::recv(handler_.get(), message.data(), message.size(), 0), 0);
  }
  // The type of a message that init has sent; 0 if there is none.
  uint32_t SentType() {
    mayfly_native_header header{};
    return ::recv(handler_.get(), &header, sizeof(header), MSG_DONTWAIT) == sizeof(header)
               ? header.type
               : 0;
  }
  // The one error that the channel reports.
  HandlerError Error() {
    EXPECT_TRUE(RunUntil(*loop_, [this] { return !observer_.errors.empty(); }));
    return observer_.errors.empty() ? HandlerError{} : observer_.errors[0];
  }

  std::unique_ptr<EventLoop> loop_ = MakeLoop();
  RecordingObserver observer_;
  UniqueFd handler_;
  std::unique_ptr<NativeChannel> channel_;
};

TEST_F(NativeChannelTest, InvocationCarriesStringsAndEvent) {
  Start();
  channel_->Deliver(MakeInvocation("r1", "hello"));
  std::array<uint8_t, 512> message;
  const ssize_t count = ::recv(handler_.get(), message.data(), message.size(), 0);
  constexpr size_t kHeads = sizeof(mayfly_native_header) + sizeof(mayfly_native_invoke);
  ASSERT_EQ(count, static_cast<ssize_t>(kHeads + 7));
  EXPECT_EQ(AsText(std::span(message).subspan(kHeads, 7)), "r1hello");
}

TEST_F(NativeChannelTest, AnswerCountsWhenDone) {
  StartAndDeliver();
  SendMessage(MAYFLY_NATIVE_ANSWER, "world");
  SendMessage(MAYFLY_NATIVE_DONE, "");
  ASSERT_TRUE(RunUntil(*loop_, [this] { return !observer_.answers.empty(); }));
  EXPECT_EQ(AsText(observer_.answers[0]), "world");
}

TEST_F(NativeChannelTest, DoneWithoutAnAnswerIsAnEmptyAnswer) {
  StartAndDeliver();
  SendMessage(MAYFLY_NATIVE_DONE, "");
  ASSERT_TRUE(RunUntil(*loop_, [this] { return !observer_.answers.empty(); }));
  EXPECT_TRUE(observer_.answers[0].empty());
}

TEST_F(NativeChannelTest, FailureHasTypeAndMessage) {
  StartAndDeliver();
  const mayfly_native_error lengths{4, 7};
  SendHeader(MAYFLY_NATIVE_FAILED, sizeof(lengths) + 11);
  Send(BytesOf(lengths));
  Send(AsBytes("Typemessage"));
  const HandlerError error = Error();
  EXPECT_EQ(error.type, "Type");
  EXPECT_EQ(error.message, "message");
  EXPECT_TRUE(error.reusable);
}

TEST_F(NativeChannelTest, AnotherVersionIsRefused) {
  SendReady(MAYFLY_NATIVE_VERSION + 1, 0);
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, AnswerBeforeAnEventIsRefused) {
  Start();
  SendMessage(MAYFLY_NATIVE_ANSWER, "world");
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
  EXPECT_TRUE(observer_.answers.empty());
}

TEST_F(NativeChannelTest, SecondAnswerIsRefused) {
  StartAndDeliver();
  SendMessage(MAYFLY_NATIVE_ANSWER, "one");
  SendMessage(MAYFLY_NATIVE_ANSWER, "two");
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, AnswerAboveTheLimitIsTooLarge) {
  StartAndDeliver();
  SendHeader(MAYFLY_NATIVE_ANSWER, control::kMaxAnswer + 1);
  const HandlerError error = Error();
  EXPECT_EQ(error.type, "Function.ResponseSizeTooLarge");
  EXPECT_FALSE(error.reusable);
}

TEST_F(NativeChannelTest, HugeFailureIsRefused) {
  StartAndDeliver();
  SendHeader(MAYFLY_NATIVE_FAILED, UINT64_MAX);
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, FailureWhoseLengthsLieIsRefused) {
  StartAndDeliver();
  const mayfly_native_error lengths{UINT32_MAX, 12};
  SendHeader(MAYFLY_NATIVE_FAILED, sizeof(lengths) + 11);
  Send(BytesOf(lengths));
  Send(AsBytes("Typemessage"));
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, UnknownTypeAndReservedBitsAreRefused) {
  StartAndDeliver();
  SendHeader(77, 0);
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, ReservedBitsAreRefused) {
  StartAndDeliver();
  SendHeader(MAYFLY_NATIVE_DONE, 0, 1);
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, HandlerWithoutHooksIsNotWoken) {
  Start();
  EXPECT_TRUE(channel_->PrepareSnapshot());
  channel_->Restored();
  EXPECT_EQ(SentType(), 0U);
}

TEST_F(NativeChannelTest, SnapshotWaitsForTheHook) {
  Start(MAYFLY_NATIVE_HAS_BEFORE_SNAPSHOT);
  EXPECT_FALSE(channel_->PrepareSnapshot());
  EXPECT_EQ(SentType(), MAYFLY_NATIVE_BEFORE_SNAPSHOT);
  EXPECT_EQ(observer_.prepared, 0);
  SendHeader(MAYFLY_NATIVE_HOOK_DONE, 0);
  EXPECT_TRUE(RunUntil(*loop_, [this] { return observer_.prepared == 1; }));
}

TEST_F(NativeChannelTest, EventFollowsTheHookAtOnce) {
  Start(MAYFLY_NATIVE_HAS_AFTER_RESTORE);
  channel_->Restored();
  channel_->Deliver(MakeInvocation("r1", "hello"));
  EXPECT_EQ(SentType(), MAYFLY_NATIVE_AFTER_RESTORE);
  EXPECT_EQ(SentType(), MAYFLY_NATIVE_INVOKE);
  SendHeader(MAYFLY_NATIVE_HOOK_DONE, 0);
  SendMessage(MAYFLY_NATIVE_ANSWER, "world");
  SendMessage(MAYFLY_NATIVE_DONE, "");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return observer_.answers.size() == 1; }));
}

TEST_F(NativeChannelTest, SnapshotWaitsForTheHookOfTheRestoreBefore) {
  Start(MAYFLY_NATIVE_HAS_AFTER_RESTORE);
  channel_->Restored();
  EXPECT_FALSE(channel_->PrepareSnapshot());
  SendHeader(MAYFLY_NATIVE_HOOK_DONE, 0);
  EXPECT_TRUE(RunUntil(*loop_, [this] { return observer_.prepared == 1; }));
}

TEST_F(NativeChannelTest, FailedHookEndsTheHandler) {
  Start(MAYFLY_NATIVE_HAS_AFTER_RESTORE);
  channel_->Restored();
  const mayfly_native_error lengths{4, 7};
  SendHeader(MAYFLY_NATIVE_FAILED, sizeof(lengths) + 11);
  Send(BytesOf(lengths));
  Send(AsBytes("Typemessage"));
  const HandlerError error = Error();
  EXPECT_EQ(error.type, "Type");
  EXPECT_FALSE(error.reusable);
}

TEST_F(NativeChannelTest, AnswerInsteadOfTheHooksEndIsRefused) {
  Start(MAYFLY_NATIVE_HAS_AFTER_RESTORE);
  channel_->Restored();
  channel_->Deliver(MakeInvocation("r1", "hello"));
  SendMessage(MAYFLY_NATIVE_ANSWER, "world");
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, EndOfAHookThatWasNotCalledIsRefused) {
  Start(MAYFLY_NATIVE_HAS_AFTER_RESTORE);
  SendHeader(MAYFLY_NATIVE_HOOK_DONE, 0);
  EXPECT_EQ(Error().type, "Runtime.InvalidHandlerMessage");
}

TEST_F(NativeChannelTest, ClosedSocketIsReportedOnce) {
  Start();
  handler_.Reset();
  ASSERT_TRUE(RunUntil(*loop_, [this] { return observer_.gone == 1; }));
  channel_->Drain();
  EXPECT_EQ(observer_.gone, 1);
}

}  // namespace
}  // namespace mayfly::init
