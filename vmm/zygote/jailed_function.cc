#include "vmm/zygote/jailed_function.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "base/file.h"
#include "base/json.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

// Nothing for poll(2) to wait for: 0. It waits for whole milliseconds.
int MillisecondsUntil(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, std::numeric_limits<int>::max()));
}

// From the request until the clone runs: KVM may be busy with a thousand others.
constexpr std::chrono::seconds kStartTimeout{30};

Error Ended() { return {ErrorCode::kGuest, "the clone's process has ended"}; }

}  // namespace

Result<std::unique_ptr<JailedFunction>> JailedFunction::Create(
    std::shared_ptr<ZygoteProcess> zygote, int console, FunctionSession::LogCallback on_log,
    LogSink* log) {
  std::vector<int> fds;
  if (console >= 0) fds.push_back(console);
  UniqueFd clone = TRY(zygote->MakeClone({PacketKind::kClone, 0, {}}, {}, std::move(fds)));
  std::unique_ptr<JailedFunction> self(
      new JailedFunction(std::move(zygote), std::move(clone), std::move(on_log), log));
  const Packet packet = TRY(self->Receive(Clock::now() + kStartTimeout));
  if (packet.head.kind != PacketKind::kReady) return std::unexpected(ErrorOf(packet));
  return self;
}

Result<InvocationResult> JailedFunction::Invoke(std::span<const uint8_t> event,
                                                const Invocation& invocation) {
  if (event.size() > control::kMaxEvent) {
    return Fail(ErrorCode::kTooLarge, "the event has more bytes than can be sent");
  }
  const auto start = Clock::now();
  const auto deadline = start + invocation.timeout + FunctionSession::kGrace + kGrace;
  log_budget_.Reset();
  const Result<void> sent = [&]() -> Result<void> {
    TRY(Send(
        {PacketKind::kInvoke, 0, {static_cast<uint64_t>(invocation.timeout.count()), event.size()}},
        AsBytes(invocation.request_id), deadline));
    for (auto rest = event; !rest.empty();) {
      const auto part = rest.first(std::min(rest.size(), kMostPacketBytes));
      TRY(Send({PacketKind::kEvent, 0, {}}, part, deadline));
      rest = rest.subspan(part.size());
    }
    return {};
  }();
  // Why it ended, if it did, is still to be read.
  auto result = ReceiveResult(deadline);
  if (!sent && result) return std::unexpected(sent.error());
  if (!result) return result;
  result->total = Clock::now() - start;
  result->log_dropped_bytes += log_budget_.dropped();
  return result;
}

Result<void> JailedFunction::Send(const PacketHead& head, std::span<const uint8_t> bytes,
                                  Clock::time_point deadline) {
  while (true) {
    auto sent = SendPacket(clone_.get(), head, bytes, {}, false);
    if (sent || sent.error().errno_value() != EAGAIN) return sent;
    pollfd event{clone_.get(), POLLOUT, 0};
    if (::poll(&event, 1, MillisecondsUntil(deadline)) == 0) {
      Interrupt();
      return Fail(ErrorCode::kGuest, "the clone does not take its event");
    }
  }
}

Result<InvocationResult> JailedFunction::ReceiveResult(Clock::time_point deadline) {
  InvocationResult result;
  while (true) {
    Packet packet = TRY(Receive(deadline));
    switch (packet.head.kind) {
      case PacketKind::kErrorType:
        result.error = HandlerError{packet.text(), {}, {}};
        break;
      case PacketKind::kErrorMessage:
        if (result.error) result.error->message = packet.text();
        break;
      case PacketKind::kAnswer:
        // The cap is the control protocol's: a clone must not fill the host's memory.
        if (packet.bytes.size() > control::kMaxAnswer - result.answer.size()) {
          Interrupt();
          return Fail(ErrorCode::kGuest, "the clone's answer exceeds what an answer can have");
        }
        result.answer.insert(result.answer.end(), packet.bytes.begin(), packet.bytes.end());
        break;
      case PacketKind::kDone:
        result.handler_us = packet.head.values[0];
        result.max_memory_bytes = packet.head.values[1];
        result.log_dropped_bytes = packet.head.values[2];
        if (result.error) result.error->json.assign(result.answer.begin(), result.answer.end());
        return result;
      default:
        Interrupt();
        return std::unexpected(ErrorOf(packet));
    }
  }
}

Result<Packet> JailedFunction::Receive(Clock::time_point deadline) {
  while (true) {
    pollfd event{clone_.get(), POLLIN, 0};
    const int ready = ::poll(&event, 1, MillisecondsUntil(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return FailErrno("poll");
    // Nor one that says anything else all the time.
    if (ready == 0 || Clock::now() >= deadline) {
      Interrupt();
      return Fail(ErrorCode::kGuest, "the clone does not answer");
    }
    auto packet = TRY(ReceivePacket(clone_.get()));
    if (!packet) return std::unexpected(Ended());
    if (!TakeLog(*packet)) return std::move(*packet);
  }
}

bool JailedFunction::TakeLog(const Packet& packet) {
  if (packet.head.kind == PacketKind::kLine) {
    const auto level =
        std::min<uint64_t>(packet.head.values[0], static_cast<uint64_t>(LogLevel::kDebug));
    const std::string text = packet.text();
    const std::string_view line = log_budget_.Take(text);
    if (log_ != nullptr && !line.empty()) {
      log_->Write(static_cast<LogLevel>(level), Printable(line));
    }
    return true;
  }
  if (packet.head.kind != PacketKind::kLog) return false;
  const auto stream = std::clamp<uint64_t>(packet.head.values[1],
                                           static_cast<uint64_t>(control::LogStream::kStdout),
                                           static_cast<uint64_t>(control::LogStream::kInit));
  const std::string whole = packet.text();
  const std::string_view text = log_budget_.Take(whole);
  if (on_log_ && !text.empty()) {
    on_log_({packet.head.values[0], static_cast<control::LogStream>(stream), text});
  }
  return true;
}

void JailedFunction::Interrupt() { ::shutdown(clone_.get(), SHUT_RDWR); }

std::optional<MachineEnd> JailedFunction::end() const {
  pollfd event{clone_.get(), 0, 0};
  if (::poll(&event, 1, 0) <= 0) return std::nullopt;
  return MachineEnd{EndReason::kStopped, Ended().message()};
}

}  // namespace mayfly
