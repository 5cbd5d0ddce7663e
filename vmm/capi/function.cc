#include "vmm/capi/function.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/file.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/capi/arguments.h"
#include "vmm/machine/function_manifest.h"

namespace mayfly::capi {
namespace {

constexpr size_t kMostRequestId = 128;

bool IsIdCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
}

Result<std::string> ReadRequestId(const char* text) {
  std::string id = TRY(ReadText(text, "request_id"));
  if (id.size() <= kMostRequestId && std::ranges::all_of(id, IsIdCharacter)) return id;
  return Fail(ErrorCode::kInvalidArgument, "request_id: expected up to 128 of A-Z a-z 0-9 - . _");
}

// A name goes into request ids, which have fewer characters.
std::string PlainName(const std::string& name) {
  std::string plain = name.substr(0, kMostRequestId / 2);
  std::ranges::replace_if(plain, [](char c) { return !IsIdCharacter(c); }, '-');
  return plain;
}

}  // namespace

FunctionSession::LogCallback LogCallbackOf(const Library* library, const HandlerLog& log) {
  if (log.log == nullptr) return {};
  return [library, log](const LogChunk& chunk) {
    const Library::CallbackScope scope(library);
    log.log(log.user, chunk.invocation, static_cast<int>(chunk.stream), chunk.text.data(),
            chunk.text.size());
  };
}

Status Deliver(const Outcome& outcome, void* buffer, size_t* size) {
  if (buffer == nullptr && size == nullptr) return outcome.status;
  const Status copied = CopyOut(outcome.answer, buffer, size);
  return outcome.status ? copied : outcome.status;
}

mayfly_function_info InfoOf(const FunctionDescription& description) {
  mayfly_function_info info{};
  info.memory_bytes = uint64_t{description.memory_mib} << 20;
  info.vcpus = description.vcpus;
  info.timeout_ms = description.timeout_ms;
  CopyText(description.name, info.name);
  return info;
}

std::expected<Function::Turn, Failure> Function::TakeTurn() {
  if (busy_.test_and_set(std::memory_order_acquire)) {
    return FailWith(MAYFLY_E_BUSY, "another call is under way");
  }
  return Turn(this);
}

std::expected<InvocationRequest, Failure> Function::Prepare(size_t event_size,
                                                            const mayfly_invoke_options* options) {
  mayfly_invoke_options given{};
  TRY(ReadOptions(options, &given));
  if (given.timeout_ms > FunctionDescription::kMostTimeoutMs) {
    return FailWith(MAYFLY_E_INVALID,
                    fmt::format("timeout_ms: {}, but {} are the most", given.timeout_ms,
                                FunctionDescription::kMostTimeoutMs));
  }
  if (event_size > control::kMaxEvent) {
    return FailWith(MAYFLY_E_TOO_LARGE, fmt::format("event: {} bytes, but {} are the most",
                                                    event_size, control::kMaxEvent));
  }
  if (finished_.load()) return FailWith(MAYFLY_E_STATE, "the function takes no more events");
  if (!ready_.load()) return FailWith(MAYFLY_E_STATE, "the function is not ready yet");
  // An event would be refused, and the function not be there any more for its snapshot.
  if (parts_.machine && parts_.machine->awaits_restore()) {
    return FailWith(MAYFLY_E_STATE, "the handler takes events only after its snapshot");
  }
  InvocationRequest request;
  request.invocation.request_id = TRY(ReadRequestId(given.request_id));
  if (request.invocation.request_id.empty()) {
    request.invocation.request_id =
        fmt::format("{}-{}", PlainName(parts_.name), count_.fetch_add(1) + 1);
  }
  request.invocation.timeout =
      std::chrono::milliseconds(given.timeout_ms != 0 ? given.timeout_ms : parts_.timeout_ms);
  request.answer = given.answer;
  request.user = given.user;
  return request;
}

Status Function::FailureOf(const Error& error) {
  finished_ = true;
  if (interrupted_.load()) return FailWith(MAYFLY_E_CANCELLED, "interrupted");
  return std::unexpected(Failure(error));
}

Outcome Function::OutcomeOf(Result<InvocationResult> result) {
  if (!result) return {FailureOf(result.error())};
  mayfly_invocation last{};
  last.total_us = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(result->total).count());
  last.handler_us = result->handler_us;
  last.max_memory_bytes = result->max_memory_bytes;
  last.log_dropped_bytes = result->log_dropped_bytes;
  {
    MutexLock lock(mutex_);
    last_ = last;
  }
  if (!result->error) return {0, std::move(result->answer)};
  finished_ = true;
  const HandlerError& error = *result->error;
  const auto document = AsBytes(error.json);
  return {FailWith(error.type == "Function.Timeout" ? MAYFLY_E_TIMEOUT : MAYFLY_E_HANDLER,
                   fmt::format("{}: {}", error.type, error.message)),
          {document.begin(), document.end()}};
}

Outcome Function::Invoke(std::span<const uint8_t> event, const InvocationRequest& request) {
  Outcome outcome = OutcomeOf(parts_.jailed ? parts_.jailed->Invoke(event, request.invocation)
                                            : parts_.machine->Invoke(event, request.invocation));
  {
    MutexLock lock(mutex_);
    answer_ = outcome.answer;
  }
  if (request.answer != nullptr && (outcome.status || !outcome.answer.empty())) {
    const Library::CallbackScope scope(&library());
    request.answer(request.user, outcome.answer.data(), outcome.answer.size());
  }
  return outcome;
}

Status Function::GetReady() {
  if (ready_.load()) return 0;
  if (interrupted_.load()) return FailWith(MAYFLY_E_CANCELLED, "interrupted");
  if (finished_.load()) return FailWith(MAYFLY_E_STATE, "the function did not start");
  if (parts_.verifier) {
    const Result<void> verified = parts_.verifier->Wait();
    if (!verified) return FailureOf(verified.error());
  }
  const Result<void> loaded = parts_.machine->Load();
  if (!loaded) return FailureOf(loaded.error());
  ready_ = true;
  return 0;
}

Result<Function::Save> Function::PrepareSave(const std::string& path) const {
  if (parts_.manifest) return Save{TRY(SnapshotWriter::Create(path)), *parts_.manifest};
  const Layer& layer = *parts_.layer;
  auto parent = TRY(mayfly::Snapshot::Open(layer.path));
  Manifest manifest =
      TRY(ManifestOfLayer(parent, layer.parent->manifest_digest(), layer.image, layer.taps));
  return Save{TRY(SnapshotWriter::Create(path, std::move(parent))), std::move(manifest)};
}

Status Function::Snapshot(const std::string& path) {
  if (!ready_.load()) return FailWith(MAYFLY_E_STATE, "the function is not ready yet");
  const bool wanted = parts_.manifest || parts_.layer;
  if (!wanted || finished_.load()) {
    return FailWith(MAYFLY_E_STATE, "only once, after a boot or a restore with `snapshot`");
  }
  Save save = TRY(PrepareSave(path));
  finished_ = true;
  const auto saved = parts_.machine->SaveSnapshot(std::move(save.writer), std::move(save.manifest),
                                                  library().stamps());
  if (!saved) return FailureOf(saved.error());
  mayfly_saved told{};
  told.pause_us = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(saved->pause).count());
  told.data_bytes = saved->data_bytes;
  MutexLock lock(mutex_);
  saved_ = told;
  return 0;
}

Status Function::Saved(mayfly_saved* out) const {
  MutexLock lock(mutex_);
  if (!saved_) return FailWith(MAYFLY_E_STATE, "there was no snapshot yet");
  return WriteInfo(*saved_, out);
}

Status Function::Record(const std::string& path) const {
  if (parts_.jailed || parts_.machine->pager() == nullptr) {
    return FailWith(MAYFLY_E_STATE, "only after a restore with MAYFLY_MEMORY_UFFD and `record`");
  }
  TRY(WriteWorkingSet(path, parts_.machine->pager()->TakeRecord()));
  return 0;
}

std::vector<uint8_t> Function::answer() const {
  MutexLock lock(mutex_);
  return answer_;
}

std::optional<MachineEnd> Function::end() const {
  return parts_.jailed ? parts_.jailed->end() : parts_.machine->end();
}

const MetricsRegistry* Function::metrics() const {
  return parts_.jailed ? nullptr : &parts_.machine->metrics();
}

Status Function::Times(mayfly_times* out) const {
  if (parts_.jailed) return FailWith(MAYFLY_E_UNSUPPORTED, "times: not of a jailed clone");
  if (!ready_.load()) return FailWith(MAYFLY_E_STATE, "the function is not ready yet");
  const auto nanoseconds = [](std::chrono::steady_clock::time_point time) {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
  };
  const FunctionMachine::Timings& at = parts_.machine->timings();
  mayfly_times times{};
  times.created_ns = nanoseconds(at.created);
  times.init_ns = nanoseconds(at.hello);
  // A clone is ready as it begins.
  times.ready_ns = nanoseconds(std::max(at.created, at.ready));
  return WriteInfo(times, out);
}

Status Function::LastInvocation(mayfly_invocation* out) const {
  MutexLock lock(mutex_);
  if (!last_) return FailWith(MAYFLY_E_STATE, "there was no invocation yet");
  return WriteInfo(*last_, out);
}

void Function::Stop() {
  finished_ = true;
  if (parts_.jailed) {
    parts_.jailed->Interrupt();
  } else {
    parts_.machine->Stop();
  }
}

void Function::Interrupt() {
  interrupted_ = true;
  finished_ = true;
  if (parts_.verifier) parts_.verifier->Cancel();
  if (parts_.jailed) {
    parts_.jailed->Interrupt();
  } else {
    parts_.machine->Interrupt("interrupted by the caller");
  }
}

}  // namespace mayfly::capi
