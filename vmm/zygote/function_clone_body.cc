#include "vmm/zygote/function_clone_body.h"

#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "vmm/zygote/clone_filters.h"

namespace mayfly {
namespace {

// The log of the clone's machine, as the host process gets it. Any thread.
class HostLog final : public LogSink {
 public:
  explicit HostLog(int host) : host_(host) {}
  void Write(LogLevel level, std::string_view line) override {
    // A host that has gone takes the clone with it.
    IgnoreFailure(
        WritePacket(host_, {PacketKind::kLine, 0, {static_cast<uint64_t>(level)}}, AsBytes(line)));
  }

 private:
  const int host_;
};

Result<void> WriteParts(int host, PacketKind kind, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kMostPacketBytes));
    TRY(WritePacket(host, {kind, 0, {}}, part));
    bytes = bytes.subspan(part.size());
  }
  return {};
}

// Nothing if the host closes its end.
Result<std::optional<std::vector<uint8_t>>> ReadEvent(int host, uint64_t size) {
  std::vector<uint8_t> event;
  while (event.size() < size) {
    const auto part = TRY(ReadPacket(host));
    if (!part) return std::nullopt;
    event.insert(event.end(), part->bytes.begin(), part->bytes.end());
  }
  return event;
}

Result<void> Answer(int host, const InvocationResult& result) {
  if (result.error) {
    TRY(WritePacket(host, {PacketKind::kErrorType, 0, {}}, AsBytes(result.error->type)));
    TRY(WritePacket(host, {PacketKind::kErrorMessage, 0, {}}, AsBytes(result.error->message)));
  }
  TRY(WriteParts(host, PacketKind::kAnswer,
                 result.error ? AsBytes(result.error->json) : std::span(result.answer)));
  return WritePacket(host,
                     {PacketKind::kDone,
                      0,
                      {result.handler_us, result.max_memory_bytes, result.log_dropped_bytes}});
}

// Invocations, one after the other, until the host closes its end.
Result<void> Serve(int host, FunctionMachine& machine) {
  while (const auto request = TRY(ReadPacket(host))) {
    if (request->head.kind != PacketKind::kInvoke) {
      return Fail(ErrorCode::kInvalidArgument, "the clone was sent what is no invocation");
    }
    const auto [timeout, size, _] = request->head.values;
    const auto event = TRY(ReadEvent(host, size));
    if (!event) return {};
    const Invocation invocation{request->text(), std::chrono::milliseconds(timeout)};
    const InvocationResult result = TRY(machine.Invoke(*event, invocation));
    TRY(Answer(host, result));
  }
  return {};
}

}  // namespace

Result<void> FunctionCloneBody::Prepare() {
  UniqueFd kvm(::dup(kvm_));
  if (!kvm.valid()) return FailErrno("dup");
  shell_ = TRY(Shell::Create(template_->state(), std::move(kvm), CloneHooks()));
  return {};
}

Result<void> FunctionCloneBody::Run(int host, Packet request) {
  HostLog log(host);
  FunctionTemplate::Clone clone;
  clone.shell = std::move(shell_);
  clone.jail.threads = CloneHooks();
  clone.jail.lock_down = LockDownClone;
  if (!request.fds.empty()) clone.console_output = request.fds.front().get();
  const auto on_log = [host](const LogChunk& chunk) {
    IgnoreFailure(WritePacket(
        host, {PacketKind::kLog, 0, {chunk.invocation, static_cast<uint64_t>(chunk.stream)}},
        AsBytes(chunk.text)));
  };
  // From here on nothing can be taken down: what that needs, no thread may call any more.
  FunctionMachine* const machine =
      TRY(template_->Restore(std::move(clone), on_log, &log)).release();
  TRY(WritePacket(host, {PacketKind::kReady, 0, {}}));
  const Result<void> served = Serve(host, *machine);
  if (!served) {
    IgnoreFailure(
        WritePacket(host, {PacketKind::kFailed, 0, {static_cast<uint64_t>(served.error().code())}},
                    AsBytes(served.error().message())));
  }
  ::_exit(0);
}

}  // namespace mayfly
