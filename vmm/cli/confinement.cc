#include "vmm/cli/confinement.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>

#include "base/bytes.h"
#include "base/file.h"
#include "devices/virtio/vsock/endpoint_broker.h"
#include "jailer/jail.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/output.h"

namespace mayfly {
namespace {

// Beyond guest memory: the VMM itself, the kernel's part of the machine, page tables.
constexpr uint64_t kMemoryBeside = 256 << 20;
// Beyond vCPUs: the threads of devices and of the command.
constexpr uint32_t kThreadsBeside = 64;
// What a machine that was taken over can have its supervisor read and write down.
constexpr uint32_t kMostMessage = 16 << 20;
constexpr int kMostMessages = 10'000;

enum class MessageKind : uint32_t { kMetrics = 1, kWorkingSet = 2, kSnapshot = 3 };
// What a supervisor says of a snapshot.
constexpr uint32_t kMostAnswer = 4096;

struct MessageHeader {
  MessageKind kind;
  uint32_t length;
};

// To a machine: the error's code and text, or an empty text.
struct AnswerHeader {
  ErrorCode code;
  uint32_t length;
};

void Answer(int to, const Result<void>& result) {
  AnswerHeader header{ErrorCode::kHost, 0};
  std::string text;
  if (!result) {
    text = result.error().message().substr(0, kMostAnswer);
    header = {result.error().code(), static_cast<uint32_t>(text.size())};
  }
  // There is room for it; a machine that does not listen goes without.
  ::send(to, &header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::send(to, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

Result<void> Receive(int from, std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::read(from, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return FailErrno("supervisor", count == 0 ? EPIPE : errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

// The supervisor's end: takes what comes, whenever it comes, and acts on whole messages.
class Receiver {
 public:
  Receiver(int fd, const SupervisorTasks& tasks, LogSink* log)
      : fd_(fd), tasks_(tasks), log_(log) {}

  // False when nothing more is to be read.
  bool Read(int fd) {
    std::array<uint8_t, 65536> chunk;
    const ssize_t count = ::recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    bytes_.insert(bytes_.end(), chunk.begin(), chunk.begin() + count);
    return TakeMessages();
  }

 private:
  bool TakeMessages() {
    MessageHeader header{};
    while (bytes_.size() >= sizeof(header)) {
      std::memcpy(&header, bytes_.data(), sizeof(header));
      if (header.length > kMostMessage || ++messages_ > kMostMessages) return false;
      if (bytes_.size() - sizeof(header) < header.length) return true;
      const Result<void> done =
          Act(header.kind, std::span(bytes_).subspan(sizeof(header), header.length));
      if (!done) log_->Write(LogLevel::kError, done.error().message());
      bytes_.erase(bytes_.begin(),
                   bytes_.begin() + static_cast<ptrdiff_t>(sizeof(header) + header.length));
    }
    return true;
  }

  Result<void> Act(MessageKind kind, std::span<const uint8_t> bytes) const {
    if (kind == MessageKind::kMetrics && !tasks_.metrics.empty()) {
      return WithContext(MetricsFile::Replace(tasks_.metrics, std::string(AsText(bytes))),
                         "metrics");
    }
    if (kind == MessageKind::kWorkingSet && !tasks_.working_set.empty()) {
      const WorkingSet set = TRY(WithContext(
          WorkingSet::Decode(bytes, std::numeric_limits<uint32_t>::max()), "working set"));
      return WriteWorkingSet(tasks_.working_set, set);
    }
    if (kind == MessageKind::kSnapshot && tasks_.snapshot != nullptr) {
      Answer(fd_, tasks_.snapshot->Publish(bytes));
      return {};
    }
    return Fail(ErrorCode::kGuest, "the jailed machine asks for what was not agreed");
  }

  const int fd_;
  const SupervisorTasks& tasks_;
  LogSink* const log_;
  std::vector<uint8_t> bytes_;
  int messages_ = 0;
};

// Limits that nobody asked for are set where the host can.
CgroupLimits LimitsFor(const JailRequest& request, const MachineSize& size) {
  CgroupLimits limits = request.limits;
  const auto mounts = CgroupMounts::OfThisProcess();
  if (!mounts || ::geteuid() != 0) return limits;
  if (!limits.memory_bytes && mounts->Find("memory") != nullptr) {
    limits.memory_bytes = size.memory_bytes + kMemoryBeside;
  }
  if (!limits.processes && mounts->Find("pids") != nullptr) {
    limits.processes = size.vcpus + kThreadsBeside;
  }
  return limits;
}

// For a collector that runs elsewhere.
Result<std::string> AbsolutePath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return FailErrno(path, error.value());
  return absolute.string();
}

Result<std::unique_ptr<EndpointBroker>> ServeVsock(VsockConfig* vsock, std::vector<int>* keep) {
  auto broker = TRY(EndpointBroker::Create(vsock->path, vsock->allowed_ports));
  vsock->listener = TRY(broker->CopyListener());
  vsock->broker = broker->TakeMachineEnd();
  keep->insert(keep->end(), {vsock->listener.get(), vsock->broker.get()});
  return broker;
}

int Report(const JailEnd& end, const JailOptions& options) {
  const std::string limit =
      fmt::format("its memory limit of {} MiB", options.cgroup.memory_bytes.value_or(0) >> 20);
  if (end.out_of_memory) {
    return ReportError(Error(ErrorCode::kHost, fmt::format("jail {}: killed, because {} is used up",
                                                           options.id.text(), limit)));
  }
  if (end.limit_was_hit && end.status == static_cast<int>(ExitCode::kHost)) {
    (void)ReportError(
        Error(ErrorCode::kHost,
              fmt::format("jail {}: it came to {}, which may be why", options.id.text(), limit)));
  }
  if (end.signal == SIGSYS) {
    return ReportError(Error(ErrorCode::kHost,
                             fmt::format("jail {}: killed for a system call that its filter does "
                                         "not allow (--seccomp log names it)",
                                         options.id.text())));
  }
  if (end.signal != 0) {
    (void)ReportError(Error(ErrorCode::kHost, fmt::format("jail {}: ended by signal {}",
                                                          options.id.text(), end.signal)));
  }
  return end.status;
}

}  // namespace

Result<std::unique_ptr<Confinement>> Confinement::Create(int supervisor, bool log_calls,
                                                         LogSink* log) {
  auto self = std::make_unique<Confinement>();
  self->active_ = true;
  self->supervisor_ = supervisor;
  if (log_calls) self->log_ = TRY(SeccompLog::Create(log));
  return self;
}

std::function<void()> Confinement::HookFor(ThreadKind kind) {
  if (!active_) return {};
  return [kind, log = log_.get()] {
    const Result<void> applied = log != nullptr ? log->Apply(kind) : ApplyFilter(kind);
    // A thread without its filter must not go on.
    if (!applied) ::_exit(ReportError(applied.error()));
  };
}

ThreadHooks Confinement::hooks() {
  return {HookFor(ThreadKind::kVcpu), HookFor(ThreadKind::kIo), HookFor(ThreadKind::kPager)};
}

std::function<void()> Confinement::lock_down() { return HookFor(ThreadKind::kSupervisor); }

MetricsFile::Writer Confinement::metrics_writer() const {
  if (!active_) return {};
  return [this](const std::string& text) {
    return Send(static_cast<uint32_t>(MessageKind::kMetrics), AsBytes(text));
  };
}

Result<void> Confinement::SendWorkingSet(const std::vector<uint8_t>& bytes) const {
  return Send(static_cast<uint32_t>(MessageKind::kWorkingSet), bytes);
}

Result<void> Confinement::SendSnapshot(const std::vector<uint8_t>& state) const {
  TRY(Send(static_cast<uint32_t>(MessageKind::kSnapshot), state));
  AnswerHeader header{};
  TRY(Receive(supervisor_, MutableBytesOf(header)));
  std::string text(std::min(header.length, kMostAnswer), '\0');
  TRY(Receive(supervisor_, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  if (!text.empty()) return Fail(header.code, text);
  return {};
}

Result<void> Confinement::Send(uint32_t kind, std::span<const uint8_t> bytes) const {
  MutexLock lock(sending_);
  const MessageHeader header{static_cast<MessageKind>(kind), static_cast<uint32_t>(bytes.size())};
  TRY(WriteAll(supervisor_, BytesOf(header), "supervisor"));
  return WriteAll(supervisor_, bytes, "supervisor");
}

int Confinement::Finish(int status) const {
  if (active_) ::_exit(status);
  return status;
}

Result<int> RunConfined(const JailRequest& request, const MachineSize& size, std::vector<int> keep,
                        const SupervisorTasks& tasks, LogSink* log,
                        const std::function<int(Confinement&)>& body, const Jail::Before& before) {
  JailOptions options;
  if (!request.id.empty()) options.id = TRY(JailId::Parse(request.id));
  options.cgroup = LimitsFor(request, size);
  if (request.file_bytes) options.process.file_bytes = *request.file_bytes;
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return FailErrno("socketpair");
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  keep.push_back(theirs.get());

  if (tasks.vsock != nullptr) options.sockets.push_back(TRY(AbsolutePath(tasks.vsock->path)));

  const auto jail = TRY(Jail::Create(std::move(options)));
  std::unique_ptr<EndpointBroker> broker;
  if (tasks.vsock != nullptr) broker = TRY(WithContext(ServeVsock(tasks.vsock, &keep), "vsock"));
  const int supervisor = theirs.get();
  TRY(jail->Start(
      keep,
      [&]() -> int {
        const auto confinement = Confinement::Create(supervisor, request.log, log);
        if (!confinement) return ReportError(confinement.error());
        if (tasks.snapshot != nullptr) {
          (*confinement)->SetSnapshotMemory(tasks.snapshot->memory_fd());
        }
        return body(**confinement);
      },
      before));
  theirs.Reset();
  Receiver receiver(ours.get(), tasks, log);
  std::vector<JailChannel> channels{
      {ours.get(), [&receiver](int fd) { return receiver.Read(fd); }}};
  if (broker) {
    tasks.vsock->broker.Reset();
    channels.push_back(
        {broker->fd(), [&broker](int) { return broker->Serve(EndpointBroker::Clock::now()); }});
  }
  const JailEnd end = TRY(jail->Wait(channels));
  return Report(end, jail->options());
}

}  // namespace mayfly
