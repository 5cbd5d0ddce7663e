#include "vmm/zygote/zygote_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

namespace mayfly {
namespace {

// posix_spawn() copies descriptors one after the other: what it is to copy must not lie where a
// copy goes.
Result<UniqueFd> DuplicateAbove(int fd, int least) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, least));
  if (!copy.valid()) return FailErrno("dup");
  return copy;
}

// Nobody of the host's threads has a say in how the program starts.
class SpawnSettings {
 public:
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    sigset_t signals;
    sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
  }

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Error ErrorOf(const Packet& packet) {
  if (packet.head.kind == PacketKind::kEnd) {
    const int status = static_cast<int>(packet.head.values[0]);
    if (WIFSIGNALED(status)) {
      const int signal = WTERMSIG(status);
      return {ErrorCode::kGuest,
              signal == SIGSYS
                  ? "the clone was killed for a system call that its filter does not allow"
                  : fmt::format("the clone was ended by signal {}", signal)};
    }
    return {ErrorCode::kGuest, "the clone has ended"};
  }
  if (packet.head.kind != PacketKind::kFailed) return {ErrorCode::kGuest, "an unexpected packet"};
  // The code is the clone's word.
  const bool known = packet.head.values[0] <= static_cast<uint64_t>(ErrorCode::kCancelled);
  return {known ? static_cast<ErrorCode>(packet.head.values[0]) : ErrorCode::kGuest, packet.text()};
}

Result<std::unique_ptr<ZygoteProcess>> ZygoteProcess::Start(const std::string& program,
                                                            std::vector<std::string> arguments,
                                                            const std::vector<int>& inherited) {
  auto [ours, theirs] = TRY(MakePacketSockets());
  std::vector<int> wanted{theirs.get()};
  wanted.insert(wanted.end(), inherited.begin(), inherited.end());
  const int end = kControlFd + static_cast<int>(wanted.size());
  SpawnSettings settings;
  for (int fd = 0; fd < kControlFd; ++fd) {
    ::posix_spawn_file_actions_addopen(&settings.actions, fd, "/dev/null", O_RDWR, 0);
  }
  std::vector<UniqueFd> copies;
  for (const int fd : wanted) {
    copies.push_back(TRY(DuplicateAbove(fd, end)));
    ::posix_spawn_file_actions_adddup2(&settings.actions, copies.back().get(),
                                       kControlFd + static_cast<int>(copies.size()) - 1);
  }
  ::posix_spawn_file_actions_addclosefrom_np(&settings.actions, end);
  std::vector<std::string> environment;
  if (const char* const records = std::getenv("MAYFLY_RUN_DIR")) {
    environment.push_back(std::string("MAYFLY_RUN_DIR=") + records);
  }
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, program.c_str(), &settings.actions, &settings.attributes,
                                   Pointers(arguments).data(), Pointers(environment).data());
  if (failed != 0) return FailErrno(program, failed);
  return std::make_unique<ZygoteProcess>(std::move(ours), pid);
}

ZygoteProcess::~ZygoteProcess() {
  // The zygote sees the end of the connection; its supervisor then removes what it has made. Unlike
  // a closed descriptor, that holds for copies in whatever the host has forked.
  ::shutdown(control_.get(), SHUT_RDWR);
  while (::waitpid(supervisor_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<void> ZygoteProcess::WaitReady() {
  const auto packet = TRY(ReceivePacket(control_.get()));
  if (!packet) return Fail(ErrorCode::kHost, "the zygote has ended before it was ready");
  if (packet->head.kind != PacketKind::kReady) return std::unexpected(ErrorOf(*packet));
  return {};
}

Result<UniqueFd> ZygoteProcess::MakeClone(const PacketHead& head, std::span<const uint8_t> bytes,
                                          std::vector<int> fds) {
  auto [ours, theirs] = TRY(MakePacketSockets());
  fds.insert(fds.begin(), theirs.get());
  TRY(WithContext(SendPacket(control_.get(), head, bytes, fds), "zygote"));
  return std::move(ours);
}

}  // namespace mayfly
