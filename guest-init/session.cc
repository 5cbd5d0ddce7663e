#include "guest-init/session.h"

#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cstdio>

#include "base/file.h"
#include "guest-init/native_channel.h"
#include "guest-init/runtime_api.h"

namespace mayfly::init {
namespace {

using control::Frame;
using control::FrameType;

// How long a handler that has closed its channel may take to say why by its exit status.
constexpr std::chrono::milliseconds kExitGrace{50};
// How long the host may take for what is queued when the machine ends.
constexpr std::chrono::milliseconds kFlushLimit{1000};

uint64_t MicrosecondsSince(EventLoop::Clock::time_point start) {
  const auto passed = EventLoop::Clock::now() - start;
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(passed).count());
}

uint64_t MicrosecondsSinceBoot() {
  timespec now{};
  static_cast<void>(::clock_gettime(CLOCK_BOOTTIME, &now));
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

std::string TimedOut(uint32_t milliseconds) {
  std::array<char, 64> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "timed out after %u.%02u seconds",
                                  milliseconds / 1000, milliseconds % 1000 / 10));
  return text.data();
}

}  // namespace

Session::Session(EventLoop* loop, ControlChannel* channel, ChildReaper* reaper, Platform* platform)
    : loop_(loop),
      channel_(channel),
      reaper_(reaper),
      platform_(platform),
      logs_(loop, channel, [this] { OnTooMuchOutput(); }) {
  channel_->SetCallbacks([this](const Frame& frame) { OnFrame(frame); },
                         [this](const Error& why) { End(why.message()); });
  channel_->SetDrainedCallback([this] { logs_.Resume(); });
  channel_->Send(FrameType::kHello, 0, AsBytes(HelloJson()));
}

Session::~Session() {
  ClearDeadline();
  loop_->Cancel(gone_);
  channel_->SetCallbacks([](const Frame&) {}, [](const Error&) {});
  channel_->SetDrainedCallback({});
}

void Session::Log(std::string_view line) {
  std::vector<uint8_t> payload{static_cast<uint8_t>(control::LogStream::kInit)};
  const std::string text = std::string(line.substr(0, LogPump::kMaxLine)) + "\n";
  payload.insert(payload.end(), text.begin(), text.end());
  channel_->Send(FrameType::kLog, 0, payload);
}

void Session::OnFrame(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kLoad:
      if (state_ != State::kLoading) return OnProtocolError("a second load frame");
      return OnLoad(frame.payload);
    case FrameType::kInvoke:
      return OnInvoke(frame);
    case FrameType::kChunk:
      return OnChunk(frame);
    case FrameType::kSnapshot:
      return OnSnapshot();
    case FrameType::kRestore:
      return OnRestore(frame.payload);
    case FrameType::kShutdown:
      return End("the host asked for it");
    default:
      return OnProtocolError("a frame that only init sends");
  }
}

void Session::OnLoad(std::span<const uint8_t> payload) {
  started_ = EventLoop::Clock::now();
  Result<Function> function = ParseLoad(payload);
  if (!function) return FailMachine({"Runtime.InvalidFunction", function.error().message()});
  function_ = std::move(*function);
  state_ = State::kStarting;
  SetDeadline(function_.init_timeout_ms);
  const Result<void> started = StartHandler();
  if (!started) FailMachine({"Runtime.StartError", started.error().message()});
}

Result<void> Session::StartHandler() {
  Platform::Place place = TRY(platform_->Prepare(function_));
  HandlerCommand command;
  command.directory = place.task_directory;
  uint16_t port = 0;
  if (function_.kind == HandlerKind::kNative) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      return FailErrno("socketpair");
    }
    UniqueFd ours(ends[0]);
    command.channel.Reset(ends[1]);
    handler_ = TRY(NativeChannel::Create(std::move(ours), loop_, this));
    command.arguments = {place.runner, place.task_directory + "/" + function_.handler};
  } else {
    auto api = std::make_unique<RuntimeApi>(loop_, this, function_.snapshot);
    port = TRY(api->Listen(place.runtime_api_port));
    handler_ = std::move(api);
    command.arguments = {place.task_directory + "/bootstrap"};
  }
  command.environment = HandlerEnvironment(function_, port);
  process_ = TRY(HandlerProcess::Start(place.jail, std::move(command), reaper_,
                                       [this](const HandlerProcess::Exit& exit) { OnExit(exit); }));
  HandlerProcess::Pipes pipes = process_->TakePipes();
  return logs_.Start(std::move(pipes.output), std::move(pipes.error));
}

void Session::OnHandlerReady() {
  if (state_ != State::kStarting) return;
  ClearDeadline();
  logs_.Drain();
  state_ = State::kIdle;
  channel_->Send(FrameType::kReady, 0,
                 AsBytes(ReadyJson(MicrosecondsSinceBoot(), MicrosecondsSince(started_),
                                   handler_->awaits_restore())));
}

void Session::OnInvoke(const Frame& frame) {
  if (state_ == State::kFailed) return SendError(frame.invocation, *failure_);
  if (state_ != State::kIdle || frame.invocation == 0) {
    return OnProtocolError("an invoke frame that was not due");
  }
  Result<InvokeRequest> request = ParseInvoke(function_, frame.invocation, frame.payload);
  if (!request) return OnProtocolError(request.error().message().c_str());
  state_ = State::kReceiving;
  started_ = EventLoop::Clock::now();
  invocation_ = std::move(request->invocation);
  event_size_ = request->event_size;
  event_.clear();
  event_.reserve(static_cast<size_t>(event_size_));
  // What the handler wrote since the last answer is not this invocation's.
  logs_.Drain();
  if (state_ != State::kReceiving) return;
  logs_.Begin(invocation_->id);
  SetDeadline(invocation_->timeout_ms);
  if (event_size_ == 0) DeliverEvent();
}

void Session::OnChunk(const Frame& frame) {
  // The rest of an event whose handler is gone.
  if (state_ == State::kFailed || state_ == State::kEnded) return;
  if (state_ != State::kReceiving || frame.invocation != current() ||
      frame.payload.size() > event_size_ - event_.size()) {
    return OnProtocolError("a chunk that was not due");
  }
  event_.insert(event_.end(), frame.payload.begin(), frame.payload.end());
  if (event_.size() == event_size_) DeliverEvent();
}

void Session::DeliverEvent() {
  state_ = State::kRunning;
  started_ = EventLoop::Clock::now();
  invocation_->event = std::make_shared<const std::vector<uint8_t>>(std::exchange(event_, {}));
  if (handler_->awaits_restore()) {
    HandlerError error{"Runtime.AwaitsRestore", "the handler takes events after a snapshot only"};
    error.reusable = true;
    return OnHandlerError(std::move(error));
  }
  handler_->Deliver(*invocation_);
}

void Session::OnSnapshot() {
  if (state_ == State::kFailed) return SendError(0, *failure_);
  if (state_ != State::kIdle) return OnProtocolError("a snapshot frame that was not due");
  state_ = State::kPreparing;
  SetDeadline(function_.init_timeout_ms);
  if (handler_->PrepareSnapshot()) OnHandlerPrepared();
}

void Session::OnHandlerPrepared() {
  if (state_ != State::kPreparing) return;
  ClearDeadline();
  PassSnapshotPoint();
}

void Session::PassSnapshotPoint() {
  const Result<void> quiet = Quiesce();
  if (!quiet) return FailMachine({"Runtime.SnapshotError", quiet.error().message()});
  const Result<Platform::Life> life = platform_->PassSnapshotPoint();
  // From here on in each life, and on the way of every restore.
  if (!life) return FailRestore(life.error());
  if (!life->await_restore) return Resume({});
  state_ = State::kRestoring;
}

Result<void> Session::Quiesce() {
  // Twice: frames are made in memory that is then not zero, so there should be few after the memory
  // was cleaned up, but a handler writes until it is frozen.
  logs_.Drain();
  TRY(platform_->PrepareSnapshot());
  if (process_->HasEnded()) return Fail(ErrorCode::kHandler, "the handler has ended");
  logs_.Drain();
  logs_.Begin(0);
  if (!channel_->Flush(kFlushLimit)) {
    return Fail(ErrorCode::kTimeout, "the host does not take what it is sent");
  }
  return {};
}

void Session::OnRestore(std::span<const uint8_t> payload) {
  if (state_ != State::kRestoring) return OnProtocolError("a restore frame that was not due");
  const Result<std::vector<NetworkInterface>> network = ParseRestore(payload);
  if (!network) return FailRestore(network.error());
  Resume(*network);
}

void Session::Resume(const std::vector<NetworkInterface>& network) {
  const Result<void> resumed = platform_->Resume(network);
  if (!resumed) return FailRestore(resumed.error());
  state_ = State::kIdle;
  handler_->Restored();
}

void Session::FailRestore(const Error& why) {
  FailMachine({"Runtime.RestoreError", why.message()});
  End("this life of the snapshot cannot begin");
}

void Session::OnHandlerAnswer(std::vector<uint8_t> answer) {
  if (state_ != State::kRunning) return;
  ClearDeadline();
  const uint64_t id = current();
  // What the handler wrote before it answered is in the pipes by now.
  logs_.Drain();
  if (state_ != State::kRunning) return;
  const Usage usage = MeasureUsage();
  state_ = State::kIdle;
  invocation_.reset();
  channel_->SendChunks(id, std::move(answer));
  channel_->Send(FrameType::kDone, id, AsBytes(DoneJson(usage)));
  logs_.Begin(0);
}

void Session::OnHandlerError(HandlerError error) {
  if (state_ == State::kFailed || state_ == State::kEnded) return;
  if (!error.reusable || !busy()) return FailMachine(std::move(error));
  ClearDeadline();
  logs_.Drain();
  if (!busy()) return;
  const uint64_t id = current();
  SendError(id, error);
  state_ = State::kIdle;
  invocation_.reset();
  logs_.Begin(0);
}

void Session::OnHandlerGone() {
  if (state_ == State::kFailed || state_ == State::kEnded || !process_->running()) return;
  gone_ = loop_->After(kExitGrace, [this] {
    FailMachine({"Runtime.ExitError", "the handler closed its connection to mayfly-init"});
  });
}

void Session::OnExit(const HandlerProcess::Exit& exit) {
  if (state_ == State::kFailed || state_ == State::kEnded) return;
  // An answer, or a reason, that it gave before its end still counts.
  handler_->Drain();
  if (state_ == State::kFailed) return;
  if (!exit.start_error.empty()) {
    return FailMachine({"Runtime.InvalidEntrypoint", exit.start_error});
  }
  if (platform_->OutOfMemory()) {
    return FailMachine(
        {"Runtime.OutOfMemory", "the handler used more memory than the machine has"});
  }
  FailMachine({"Runtime.ExitError", "the handler " + DescribeExit(exit.status)});
}

void Session::OnDeadline() {
  deadline_ = 0;
  if (state_ == State::kStarting) {
    return FailMachine(
        {"Runtime.InitTimeout", "the start of the handler " + TimedOut(deadline_ms_)});
  }
  if (state_ == State::kPreparing) {
    return FailMachine({"Runtime.BeforeSnapshotError",
                        "getting ready for the snapshot " + TimedOut(deadline_ms_)});
  }
  FailMachine({"Function.Timeout", TimedOut(deadline_ms_)});
}

void Session::OnTooMuchOutput() {
  // Not from here: this is called while the pipes are being read.
  loop_->Post([this] {
    FailMachine({"Runtime.OutputLimitExceeded", "the handler wrote more than " +
                                                    std::to_string(LogPump::kMaxOutput >> 20) +
                                                    " MiB of output"});
  });
}

void Session::FailMachine(HandlerError error) {
  if (state_ == State::kFailed || state_ == State::kEnded) return;
  const bool tell = host_waits();
  const uint64_t id = current();
  state_ = State::kFailed;
  ClearDeadline();
  Kill();
  // Its group's OOM kill may come to light first as a closed connection.
  if (error.type == "Runtime.ExitError" && platform_->OutOfMemory()) {
    error = {"Runtime.OutOfMemory", "the handler used more memory than the machine has"};
  }
  error.reusable = false;
  logs_.Drain();
  if (tell) {
    SendError(id, error);
  } else {
    Log("between two invocations: " + error.type + ": " + error.message);
  }
  error.document.clear();
  failure_ = std::move(error);
  invocation_.reset();
  event_ = {};
}

void Session::SendError(uint64_t invocation, const HandlerError& error) {
  channel_->SendChunks(invocation, error.document);
  channel_->Send(FrameType::kError, invocation, AsBytes(ErrorJson(error, MeasureUsage())));
}

Usage Session::MeasureUsage() {
  return {MicrosecondsSince(started_), platform_->PeakMemory(), logs_.dropped()};
}

void Session::OnProtocolError(const char* what) {
  // Both ends of the channel are ours: going on could only hide the fault.
  Log(std::string("control channel: ") + what);
  FailMachine({"Runtime.ProtocolError", what});
  End(what);
}

void Session::Kill() {
  if (process_) process_->KillGroup();
  platform_->KillHandler();
}

void Session::End(std::string_view why) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  ClearDeadline();
  Kill();
  Log("powering off: " + std::string(why));
  channel_->Flush(kFlushLimit);
  platform_->PowerOff();
}

void Session::SetDeadline(uint32_t milliseconds) {
  ClearDeadline();
  deadline_ms_ = milliseconds;
  deadline_ = loop_->After(std::chrono::milliseconds(milliseconds), [this] { OnDeadline(); });
}

void Session::ClearDeadline() {
  if (deadline_ != 0) loop_->Cancel(std::exchange(deadline_, 0));
}

}  // namespace mayfly::init
