#include "jailer/jail.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <span>

#include "base/file.h"
#include "jailer/privileges.h"

namespace mayfly {
namespace {

// Above what hosts give to people and services, and below what the kernel keeps for itself; process
// numbers are below 2^22.
constexpr uint32_t kFirstUser = 0x70000000;
constexpr int kSetUpFailed = 3;

constexpr std::array kForwarded{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

JailUser DefaultUser() {
  if (::geteuid() != 0) return {::geteuid(), ::getegid()};
  const uint32_t number = kFirstUser + static_cast<uint32_t>(::getpid());
  return {number, number};
}

Result<UniqueFd> OpenProcess(pid_t process) {
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  if (!fd.valid()) return FailErrno("pidfd_open");
  return fd;
}

// Blocks them from before there is a process that they could be for.
Result<UniqueFd> WatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kForwarded) sigaddset(&signals, signal);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return FailErrno("sigprocmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return FailErrno("signalfd");
  return fd;
}

void ReportAndExit(const Error& error) {
  IgnoreFailure(WriteAll(STDERR_FILENO, AsBytes(fmt::format("mayfly: jail: {}\n", error.message())),
                         "stderr"));
  ::_exit(kSetUpFailed);
}

}  // namespace

Result<std::unique_ptr<Jail>> Jail::Create(JailOptions options) {
  const auto mounts = TRY(CgroupMounts::OfThisProcess());
  const auto places = TRY(Cgroup::PlacesFor(mounts, options.id, options.cgroup));
  JailRecord record = TRY(JailRecord::Create(options.record_directory, options.id));
  TRY(record.Write({places, options.sockets}));
  const JailUser user = options.user.value_or(DefaultUser());
  std::unique_ptr<Jail> jail(new Jail(std::move(options), user, std::move(record)));
  jail->cgroup_.emplace(TRY(Cgroup::Create(mounts, jail->options_.id, jail->options_.cgroup)));
  return jail;
}

Jail::~Jail() {
  if (process_ < 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

Result<void> Jail::Enter(std::vector<int> keep, int parent, const Before& before) const {
  const JailLayers& layers = options_.layers;
  // While it still may: in the jail there is no such file, and no permission.
  TRY(cgroup_->Join());
  keep.push_back(parent);
  if (before) {
    const std::vector<int> more = TRY(before());
    keep.insert(keep.end(), more.begin(), more.end());
  }
  TRY(CloseInherited(keep));
  ClearEnvironment();
  if (layers.limits) TRY(SetProcessLimits(options_.process));
  if (layers.user) TRY(BecomeUser(user_));
  if (layers.namespaces) {
    TRY(EnterNamespaces(layers.user ? user_ : JailUser{::geteuid(), ::getegid()}));
  } else if (layers.empty_root) {
    TRY(EnterMountNamespace());
  }
  if (layers.empty_root) TRY(EnterEmptyRoot());
  TRY(SetNoNewPrivileges());
  if (layers.landlock) TRY(DenyPathsAndPorts());
  if (layers.capabilities) TRY(DropCapabilities());
  TRY(SetNotDumpable());
  TRY(DenyWritableCode());
  return EndWithParent(parent);
}

Result<void> Jail::Start(const std::vector<int>& keep, const std::function<int()>& body,
                         const Before& before) {
  const UniqueFd self = TRY(OpenProcess(::getpid()));
  signals_ = TRY(WatchSignals());
  UniqueFd own;
  if (options_.layers.namespaces) own = TRY(PrepareProcessNamespace());
  process_ = ::fork();
  if (process_ < 0) return FailErrno("fork");
  if (process_ == 0) {
    const Result<void> entered = Enter(keep, self.get(), before);
    if (!entered) ReportAndExit(entered.error());
    ::_exit(body());
  }
  process_fd_ = TRY(OpenProcess(process_));
  if (own.valid()) return ReturnToProcessNamespace(own.get());
  return {};
}

void Jail::ForwardSignals() const {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    ::kill(process_, static_cast<int>(info.ssi_signo));
  }
}

Result<JailEnd> Jail::Wait(const std::vector<JailChannel>& channels) {
  std::vector<pollfd> events{{process_fd_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  for (const JailChannel& channel : channels) events.push_back({channel.fd, POLLIN, 0});
  const std::span said = std::span(events).subspan(2);
  const auto speaks = [](const pollfd& event) { return event.revents != 0; };
  // What the process said is read before its end is looked at.
  while (events[0].revents == 0 || std::ranges::any_of(said, speaks)) {
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) return FailErrno("poll");
    ForwardSignals();
    for (size_t i = 0; i < channels.size(); ++i) {
      if (speaks(said[i]) && !channels[i].read(channels[i].fd)) said[i] = {-1, 0, 0};
    }
  }
  int status = 0;
  if (::waitpid(process_, &status, 0) != process_) return FailErrno("waitpid");
  process_ = -1;
  JailEnd end;
  if (WIFSIGNALED(status)) {
    end.signal = WTERMSIG(status);
    end.status = 128 + end.signal;
  } else {
    end.status = WEXITSTATUS(status);
  }
  end.out_of_memory = cgroup_->OutOfMemoryKills() > 0;
  end.limit_was_hit = cgroup_->MemoryLimitHits() > 0;
  return end;
}

}  // namespace mayfly
