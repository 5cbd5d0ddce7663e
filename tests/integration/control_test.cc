#include <thread>

#include "base/file.h"
#include "tests/integration/machine_fixture.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/function_session.h"

namespace mayfly {
namespace {

// The control protocol end to end, natively: the test guest "control" speaks it as mayfly-init
// does.
class ControlMachineTest : public MachineFixture {
 protected:
  void TearDown() override {
    machine_.reset();  // Before the channel that it calls into.
    MachineFixture::TearDown();
  }

  void Load(const std::string& command_line) {
    MachineConfig config = ConfigFor("control", command_line);
    config.vsock = VsockConfig{3, "", &channel_};
    Start(std::move(config));
    machine_->OnEnd([this](const MachineEnd& end) {
      channel_.Close("ended: " + std::string(NameOf(end.reason)));
    });
    const auto hello = session_.WaitHello(ControlChannel::Clock::now() + std::chrono::seconds(60));
    ASSERT_TRUE(hello) << hello.error().message() << output();
    const auto loaded = session_.Load("{}", std::chrono::seconds(60));
    ASSERT_TRUE(loaded) << loaded.error().message();
  }

  Result<InvocationResult> Invoke(std::string_view event,
                                  std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
    return session_.Invoke(AsBytes(event), {"request", timeout});
  }

  ControlChannel channel_;
  std::string log_;
  FunctionSession session_{&channel_, [this](const LogChunk& chunk) { log_ += chunk.text; }};
};

TEST_F(ControlMachineTest, EventComesBackAsTheAnswer) {
  Load("plain");
  const auto result = Invoke("hello");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(AsText(result->answer), "hello");
  EXPECT_EQ(log_, "a line\n");
}

TEST_F(ControlMachineTest, EventOfSixMebibytesComesBackWhole) {
  Load("plain");
  std::string event(control::kMaxEvent, '\0');
  for (size_t i = 0; i < event.size(); ++i) event[i] = static_cast<char>(i * 7 + (i >> 12));
  const auto result = Invoke(event);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_TRUE(AsText(result->answer) == event);
}

TEST_F(ControlMachineTest, OneMachineAnswersManyInvocations) {
  Load("plain");
  for (int i = 0; i < 50; ++i) {
    const std::string event = "event " + std::to_string(i);
    const auto result = Invoke(event);
    ASSERT_TRUE(result) << result.error().message();
    ASSERT_EQ(AsText(result->answer), event);
  }
  ASSERT_TRUE(session_.Shutdown());
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
}

// Case 69: a reply to somebody else's invocation.
TEST_F(ControlMachineTest, AnswerForAnotherInvocationIsRefused) {
  Load("wrong-id");
  EXPECT_EQ(Invoke("hello").error().code(), ErrorCode::kGuest);
}

// Case 69: malformed frames.
TEST_F(ControlMachineTest, FrameOfAnUnknownTypeIsRefused) {
  Load("bad-frame");
  EXPECT_EQ(Invoke("hello").error().code(), ErrorCode::kGuest);
}

TEST_F(ControlMachineTest, SilentGuestTimesOut) {
  Load("silent");
  const auto result = Invoke("hello", std::chrono::milliseconds(50));
  ASSERT_TRUE(result && result->error);
  EXPECT_EQ(result->error->type, "Function.Timeout");
}

TEST_F(ControlMachineTest, HandlerErrorIsAResult) {
  Load("error");
  const auto result = Invoke("hello");
  ASSERT_TRUE(result && result->error);
  EXPECT_EQ(result->error->type, "Function.Test");
  EXPECT_EQ(result->error->message, "as asked");
}

// A regression: Stop() could end the loop before it had announced the machine's end.
TEST_F(ControlMachineTest, EndOfTheMachineEndsTheWait) {
  Load("silent");
  std::thread stopper([this] { machine_->Stop(); });
  const auto result = Invoke("hello");
  stopper.join();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
}

}  // namespace
}  // namespace mayfly
