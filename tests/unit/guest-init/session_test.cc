#include "guest-init/session.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/control_protocol.h"
#include "tests/unit/guest-init/loop_test_support.h"

namespace mayfly::init {
namespace {

using control::Frame;
using control::FrameType;

// The test's own process instead of a guest: handlers run where they were
// built.
class HostPlatform final : public Platform {
 public:
  explicit HostPlatform(std::string example) : example_(std::move(example)) {}

  Result<Place> Prepare(const Function& /*function*/) override {
    Place place;
    place.task_directory = MAYFLY_EXAMPLES_DIR "/" + example_;
    place.runner = MAYFLY_GUEST_DIR "/handler";
    place.runtime_api_port = 0;
    return place;
  }
  void KillHandler() override { ++kills; }
  bool OutOfMemory() override { return out_of_memory; }
  uint64_t PeakMemory() override { return 4711; }
  Result<void> PrepareSnapshot() override {
    calls += "prepare ";
    std::this_thread::sleep_for(takes);
    if (fails_at == "prepare") return Fail(ErrorCode::kHost, "no doorbell");
    return {};
  }
  Result<Life> PassSnapshotPoint() override {
    calls += "pass ";
    if (fails_at == "pass") return Fail(ErrorCode::kHost, "no entropy");
    return life;
  }
  Result<void> Resume(const std::vector<NetworkInterface>& network) override {
    calls += "resume ";
    for (const NetworkInterface& interface : network) calls += interface.address + " ";
    if (fails_at == "resume") return Fail(ErrorCode::kHost, "still frozen");
    return {};
  }
  void PowerOff() override { powered_off = true; }

  std::string calls;
  std::string fails_at;
  std::chrono::milliseconds takes{0};  // PrepareSnapshot()
  Life life;
  int kills = 0;
  bool out_of_memory = false;
  bool powered_off = false;

 private:
  std::string example_;
};

// What an invocation came to.
struct Outcome {
  std::string answer;
  FrameType end = FrameType::kHello;
  std::string json;
  std::string standard_output;
  std::string standard_error;
};

class SessionTest : public testing::Test {
 protected:
  void Boot(const std::string& example) {
    if (::access((MAYFLY_EXAMPLES_DIR "/" + example + "/mayfly.json").c_str(), R_OK) != 0) {
      GTEST_SKIP() << "the examples are not built";
    }
    ASSERT_NE(::signal(SIGPIPE, SIG_IGN), SIG_ERR);
    SocketPair pair = MakeSocketPair();
    host_ = std::move(pair.ours);
    platform_ = std::make_unique<HostPlatform>(example);
    auto reaper = ChildReaper::Create(loop_.get());
    auto channel = ControlChannel::Create(std::move(pair.theirs), loop_.get());
    ASSERT_TRUE(reaper && channel);
    reaper_ = std::move(*reaper);
    channel_ = std::move(*channel);
    session_ =
        std::make_unique<Session>(loop_.get(), channel_.get(), reaper_.get(), platform_.get());
    EXPECT_EQ(Next().type, FrameType::kHello);
  }
  void TearDown() override {
    if (!session_) return;
    Send(FrameType::kShutdown, 0, "");
    EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
  }

  void Send(FrameType type, uint64_t invocation, std::string_view payload) {
    const auto frame = control::Encode(type, invocation, AsBytes(payload));
    std::span<const uint8_t> rest = frame;
    RunUntil(*loop_, [&] {
      const ssize_t count = ::send(host_.get(), rest.data(), rest.size(), MSG_DONTWAIT);
      if (count > 0) rest = rest.subspan(static_cast<size_t>(count));
      return rest.empty() || (count < 0 && errno != EAGAIN);
    });
  }
  Frame Next() {
    std::optional<Frame> frame;
    const auto take = [&] {
      std::array<uint8_t, 65536> buffer;
      const ssize_t count = ::recv(host_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count > 0) reader_.Append(std::span(buffer).first(static_cast<size_t>(count)));
      auto next = reader_.Next();
      if (next) frame = std::move(*next);
      return frame.has_value();
    };
    EXPECT_TRUE(RunUntil(*loop_, take));
    return frame ? std::move(*frame) : Frame{FrameType::kShutdown, 0, {}};
  }
  // Loads the example and returns what the session says to it.
  Frame Load(const std::string& kind, const std::string& handler) {
    Send(FrameType::kLoad, 0,
         R"({"name":"test","kind":")" + kind + R"(","handler":")" + handler +
             R"(","environment":{},"memory_mib":128,"timeout_ms":3000})");
    return Next();
  }
  void Start(const std::string& example, const std::string& kind, const std::string& handler) {
    Boot(example);
    if (IsSkipped()) return;
    const Frame frame = Load(kind, handler);
    ASSERT_EQ(frame.type, FrameType::kReady) << AsText(frame.payload);
  }
  Outcome Finish(uint64_t invocation) {
    Outcome outcome;
    while (outcome.end != FrameType::kDone && outcome.end != FrameType::kError) {
      const Frame frame = Next();
      outcome.end = frame.type;
      if (frame.type == FrameType::kShutdown) break;
      const std::string text(AsText(frame.payload));
      if (frame.type == FrameType::kLog) {
        (text[0] == 1 ? outcome.standard_output : outcome.standard_error) += text.substr(1);
        continue;
      }
      EXPECT_EQ(frame.invocation, invocation);
      (frame.type == FrameType::kChunk ? outcome.answer : outcome.json) += text;
    }
    return outcome;
  }
  Outcome Invoke(std::string_view event, int timeout_ms = 3000) {
    const uint64_t id = ++last_invocation_;
    Send(FrameType::kInvoke, id,
         R"({"request_id":"r)" + std::to_string(id) + R"(","timeout_ms":)" +
             std::to_string(timeout_ms) + R"(,"deadline_ms":1,"size":)" +
             std::to_string(event.size()) + "}");
    for (std::string_view rest = event; !rest.empty();) {
      const size_t size = std::min<size_t>(rest.size(), control::kMaxPayload);
      Send(FrameType::kChunk, id, rest.substr(0, size));
      rest.remove_prefix(size);
    }
    return Finish(id);
  }

  // Has a snapshot taken, and goes on in its first life.
  void TakeSnapshot() {
    platform_->calls.clear();
    Send(FrameType::kSnapshot, 0, "{}");
    EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->calls == "prepare pass resume "; }))
        << platform_->calls;
  }

  std::unique_ptr<EventLoop> loop_ = MakeLoop();
  UniqueFd host_;
  control::FrameReader reader_;
  std::unique_ptr<HostPlatform> platform_;
  std::unique_ptr<ChildReaper> reaper_;
  std::unique_ptr<ControlChannel> channel_;
  std::unique_ptr<Session> session_;
  uint64_t last_invocation_ = 0;
};

#define START(example, kind, handler)                     \
  ASSERT_NO_FATAL_FAILURE(Start(example, kind, handler)); \
  if (IsSkipped()) return

void ExpectError(const Outcome& outcome, const std::string& type, const std::string& message) {
  EXPECT_EQ(outcome.end, FrameType::kError);
  EXPECT_TRUE(
      outcome.json.starts_with("{\"errorType\":\"" + type + "\",\"errorMessage\":\"" + message))
      << outcome.json;
}

TEST_F(SessionTest, NativeHandlerAnswersAgainAndAgain) {
  START("echo-c", "native", "handler.so");
  EXPECT_EQ(Invoke("hello").answer, "hello");
  EXPECT_EQ(Invoke("").end, FrameType::kDone);
  EXPECT_EQ(Invoke("again").answer, "again");
}

TEST_F(SessionTest, NativeHandlerTakesTheLargestEvent) {
  START("echo-c", "native", "handler.so");
  const std::string event(control::kMaxEvent, 'e');
  const Outcome outcome = Invoke(event);
  EXPECT_EQ(outcome.end, FrameType::kDone);
  EXPECT_TRUE(outcome.answer == event);
  EXPECT_NE(outcome.json.find("\"max_memory_bytes\":4711"), std::string::npos);
}

TEST_F(SessionTest, CppHandlersExceptionIsATypedError) {
  START("echo-cpp", "native", "handler.so");
  ExpectError(Invoke(""), "Function.EmptyEvent", "nothing to echo");
  EXPECT_EQ(Invoke("still there").answer, "still there");
}

TEST_F(SessionTest, BootstrapAnswersAgainAndAgain) {
  START("bootstrap-c", "bootstrap", "bootstrap");
  EXPECT_EQ(Invoke("hello").answer, "hello");
  EXPECT_EQ(Invoke(std::string_view("a\0b\n", 4)).answer, std::string_view("a\0b\n", 4));
}

TEST_F(SessionTest, BootstrapTakesTheLargestEvent) {
  START("bootstrap-c", "bootstrap", "bootstrap");
  const std::string event(control::kMaxEvent, 'e');
  EXPECT_TRUE(Invoke(event).answer == event);
}

TEST_F(SessionTest, ExitIsAnErrorWithStatusAndOutput) {
  START("faulty", "native", "handler.so");
  const Outcome outcome = Invoke("exit");
  ExpectError(outcome, "Runtime.ExitError", "the handler exited with status 3");
  EXPECT_EQ(outcome.standard_output, "about to exit\n");
  ExpectError(Invoke("next"), "Runtime.ExitError", "the handler exited with status 3");
}

TEST_F(SessionTest, SignalsAreNamed) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("segfault"), "Runtime.ExitError", "the handler was killed by SIGSEGV");
}

TEST_F(SessionTest, UncaughtExceptionIsAnAbort) {
  START("faulty", "native", "handler.so");
  const Outcome outcome = Invoke("throw");
  ExpectError(outcome, "Runtime.ExitError", "the handler was killed by SIGABRT");
  EXPECT_NE(outcome.standard_error.find("nobody catches this"), std::string::npos);
}

TEST_F(SessionTest, EndlessLoopIsEndedAtTheDeadline) {
  START("faulty", "native", "handler.so");
  const auto start = EventLoop::Clock::now();
  const Outcome outcome = Invoke("loop", 250);
  EXPECT_LT(EventLoop::Clock::now() - start, std::chrono::milliseconds(750));
  ExpectError(outcome, "Function.Timeout", "timed out after 0.25 seconds");
  EXPECT_EQ(platform_->kills, 1);
}

TEST_F(SessionTest, DeadlineCountsWhileTheEventIsStillComing) {
  START("faulty", "native", "handler.so");
  Send(FrameType::kInvoke, 1, R"({"request_id":"r","timeout_ms":50,"size":5})");
  Send(FrameType::kChunk, 1, "ab");
  ExpectError(Finish(1), "Function.Timeout", "timed out after 0.05 seconds");
  Send(FrameType::kChunk, 1, "cde");
}

TEST_F(SessionTest, TooMuchOutputEndsTheHandler) {
  START("faulty", "native", "handler.so");
  const Outcome outcome = Invoke("write-1g");
  ExpectError(outcome, "Runtime.OutputLimitExceeded", "the handler wrote more than 16 MiB");
  EXPECT_EQ(outcome.standard_output.size(), LogPump::kMaxForwarded);
}

TEST_F(SessionTest, OutputBeforeTheAnswerComesBeforeDone) {
  START("faulty", "native", "handler.so");
  const Outcome outcome = Invoke("log 1000");
  EXPECT_EQ(outcome.answer, "logged");
  EXPECT_EQ(outcome.standard_output, std::string(1000, 'l'));
  EXPECT_EQ(outcome.standard_error, "and an error\n");
}

TEST_F(SessionTest, OutputAboveTheForwardedPartIsCounted) {
  START("faulty", "native", "handler.so");
  const Outcome outcome = Invoke("log 1048586");
  EXPECT_EQ(outcome.end, FrameType::kDone);
  EXPECT_EQ(outcome.standard_output.size() + outcome.standard_error.size(), LogPump::kMaxForwarded);
  EXPECT_NE(outcome.json.find("\"log_dropped_bytes\":23}"), std::string::npos) << outcome.json;
}

TEST_F(SessionTest, TooLargeAnswerIsATypedError) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("big-answer"), "Function.ResponseSizeTooLarge", "");
}

TEST_F(SessionTest, LargestAnswerPasses) {
  START("faulty", "native", "handler.so");
  EXPECT_EQ(Invoke("big-answer 6291456").answer.size(), control::kMaxAnswer);
}

TEST_F(SessionTest, SecondAnswerIsATypedError) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("double-answer"), "Runtime.DuplicateAnswer", "");
}

TEST_F(SessionTest, HandlersOwnFailuresAreTyped) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("fail because"), "Function.Asked", "because");
  ExpectError(Invoke("return 7"), "Function.Error", "the handler returned 7");
}

TEST_F(SessionTest, HandlerThatClosesEverythingIsNoticed) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("close-fds"), "Runtime.ExitError", "");
}

TEST_F(SessionTest, ForgedMessageEndsTheHandler) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("forge-frame"), "Runtime.InvalidHandlerMessage", "");
}

TEST_F(SessionTest, OutOfMemoryIsTheReasonOfAnExit) {
  START("faulty", "native", "handler.so");
  platform_->out_of_memory = true;
  ExpectError(Invoke("abort"), "Runtime.OutOfMemory", "");
}

TEST_F(SessionTest, MissingProgramIsAnInvalidEntrypoint) {
  Boot("echo-c");
  if (IsSkipped()) return;
  const Frame frame = Load("bootstrap", "bootstrap");
  EXPECT_EQ(frame.type, FrameType::kError);
  EXPECT_TRUE(AsText(frame.payload).starts_with("{\"errorType\":\"Runtime.InvalidEntrypoint\""))
      << AsText(frame.payload);
}

TEST_F(SessionTest, MissingObjectIsAnImportError) {
  Boot("echo-c");
  if (IsSkipped()) return;
  const Frame frame = Load("native", "nowhere.so");
  EXPECT_EQ(frame.type, FrameType::kError);
  EXPECT_TRUE(AsText(frame.payload).starts_with("{\"errorType\":\"Runtime.ImportHandlerError\""))
      << AsText(frame.payload);
}

TEST_F(SessionTest, SnapshotIsFollowedByALife) {
  START("echo-c", "native", "handler.so");
  TakeSnapshot();
  EXPECT_EQ(Invoke("hello").answer, "hello");
}

TEST_F(SessionTest, HooksRunBeforeTheSnapshotAndInEachLife) {
  START("unique-c", "native", "handler.so");
  const std::string before = Invoke("").answer;
  TakeSnapshot();
  const std::string first = Invoke("").answer;
  TakeSnapshot();
  const std::string second = Invoke("").answer;
  EXPECT_TRUE(before.ends_with(" 0 0")) << before;
  EXPECT_TRUE(first.ends_with(" 1 1")) << first;
  EXPECT_TRUE(second.ends_with(" 2 2")) << second;
  EXPECT_NE(before.substr(0, 16), first.substr(0, 16));
  EXPECT_NE(first.substr(0, 16), second.substr(0, 16));
}

TEST_F(SessionTest, HookThatFailsBeforeTheSnapshotIsTold) {
  START("faulty", "native", "handler.so");
  Invoke("hook fail-before-snapshot");
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.BeforeSnapshotError", "mayfly_before_snapshot()");
  EXPECT_EQ(platform_->calls, "");
}

TEST_F(SessionTest, HandlerThatEndsMeanwhileIsNotSnapshotted) {
  START("faulty", "native", "handler.so");
  platform_->takes = std::chrono::milliseconds(500);
  EXPECT_EQ(Invoke("alarm").answer, "soon");
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.SnapshotError", "the handler has ended");
  EXPECT_EQ(platform_->calls, "prepare ");
}

TEST_F(SessionTest, HookThatHangsBeforeTheSnapshotIsEnded) {
  Boot("faulty");
  if (IsSkipped()) return;
  Send(FrameType::kLoad, 0,
       R"({"name":"test","kind":"native","handler":"handler.so","init_timeout_ms":2000})");
  ASSERT_EQ(Next().type, FrameType::kReady);
  Invoke("hook hang-before-snapshot");
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.BeforeSnapshotError",
              "getting ready for the snapshot timed out after 2.00 seconds");
  EXPECT_EQ(platform_->calls, "");
}

TEST_F(SessionTest, HookThatFailsAfterARestoreFailsTheFirstInvocation) {
  START("faulty", "native", "handler.so");
  Invoke("hook fail-after-restore");
  TakeSnapshot();
  ExpectError(Invoke("hello"), "Runtime.AfterRestoreError", "mayfly_after_restore()");
}

TEST_F(SessionTest, RuntimeThatAwaitsItsRestoreTakesNoEventBefore) {
  Boot("bootstrap-c");
  if (IsSkipped()) return;
  Send(FrameType::kLoad, 0,
       R"({"name":"test","kind":"bootstrap","handler":"bootstrap","snapshot":true})");
  const Frame ready = Next();
  EXPECT_EQ(ready.type, FrameType::kReady);
  EXPECT_TRUE(AsText(ready.payload).ends_with("\"awaits_restore\":true}"));
  ExpectError(Invoke("early"), "Runtime.AwaitsRestore", "");
  TakeSnapshot();
  EXPECT_EQ(Invoke("hello").answer, "hello");
  TakeSnapshot();
  EXPECT_EQ(Invoke("again").answer, "again");
}

TEST_F(SessionTest, SecondSnapshotIsLikeTheFirst) {
  START("echo-c", "native", "handler.so");
  TakeSnapshot();
  EXPECT_EQ(Invoke("one").answer, "one");
  TakeSnapshot();
  EXPECT_EQ(Invoke("two").answer, "two");
}

TEST_F(SessionTest, HandlerStaysFrozenUntilTheRestoreFrame) {
  START("echo-c", "native", "handler.so");
  platform_->life.await_restore = true;
  Send(FrameType::kSnapshot, 0, "{}");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->calls == "prepare pass "; }));
  Send(FrameType::kRestore, 0,
       R"({"environment":{},"network":[{"interface":"eth0","address":"172.31.0.6","prefix":30}]})");
  EXPECT_EQ(Invoke("hello").answer, "hello");
  EXPECT_EQ(platform_->calls, "prepare pass resume 172.31.0.6 ");
}

TEST_F(SessionTest, InvocationBeforeTheRestoreFrameEndsTheMachine) {
  START("echo-c", "native", "handler.so");
  platform_->life.await_restore = true;
  Send(FrameType::kSnapshot, 0, "{}");
  Send(FrameType::kInvoke, 1, R"({"request_id":"r","size":0})");
  ExpectError(Finish(0), "Runtime.ProtocolError", "an invoke frame that was not due");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
  EXPECT_EQ(platform_->calls, "prepare pass ");
}

TEST_F(SessionTest, FailureOnTheWayToTheSnapshotIsTold) {
  START("echo-c", "native", "handler.so");
  platform_->fails_at = "prepare";
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.SnapshotError", "no doorbell");
  EXPECT_EQ(platform_->calls, "prepare ");
  EXPECT_FALSE(platform_->powered_off);
}

TEST_F(SessionTest, LifeWithoutItsOwnRandomNumbersEndsBeforeTheHandlerRuns) {
  START("echo-c", "native", "handler.so");
  platform_->fails_at = "pass";
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.RestoreError", "no entropy");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
  EXPECT_EQ(platform_->calls, "prepare pass ");
  EXPECT_GE(platform_->kills, 1);
}

TEST_F(SessionTest, LifeThatCannotResumeEnds) {
  START("echo-c", "native", "handler.so");
  platform_->fails_at = "resume";
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.RestoreError", "still frozen");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
}

TEST_F(SessionTest, MalformedRestoreFrameEndsTheLife) {
  START("echo-c", "native", "handler.so");
  platform_->life.await_restore = true;
  Send(FrameType::kSnapshot, 0, "{}");
  Send(FrameType::kRestore, 0, R"({"network":[{}]})");
  ExpectError(Finish(0), "Runtime.RestoreError", "an interface without name or address");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
}

TEST_F(SessionTest, RestoreFrameThatIsNotDueEndsTheMachine) {
  START("echo-c", "native", "handler.so");
  Send(FrameType::kRestore, 0, "{}");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
}

TEST_F(SessionTest, SnapshotDuringAnInvocationEndsTheMachine) {
  START("faulty", "native", "handler.so");
  Send(FrameType::kInvoke, 1, R"({"request_id":"r","size":5})");
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(1), "Runtime.ProtocolError", "a snapshot frame that was not due");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
}

TEST_F(SessionTest, SnapshotOfAHandlerThatHasEndedIsItsError) {
  START("faulty", "native", "handler.so");
  ExpectError(Invoke("exit"), "Runtime.ExitError", "");
  Send(FrameType::kSnapshot, 0, "{}");
  ExpectError(Finish(0), "Runtime.ExitError", "the handler exited with status 3");
  EXPECT_EQ(platform_->calls, "");
}

TEST_F(SessionTest, ChunkBeyondTheSizeEndsTheMachine) {
  START("echo-c", "native", "handler.so");
  Send(FrameType::kInvoke, 1, R"({"request_id":"r","size":2})");
  Send(FrameType::kChunk, 1, "abc");
  ExpectError(Finish(1), "Runtime.ProtocolError", "");
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
}

TEST_F(SessionTest, ClosedChannelEndsTheMachine) {
  START("echo-c", "native", "handler.so");
  host_.Reset();
  EXPECT_TRUE(RunUntil(*loop_, [this] { return platform_->powered_off; }));
}

}  // namespace
}  // namespace mayfly::init
