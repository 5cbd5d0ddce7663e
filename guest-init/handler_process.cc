#include "guest-init/handler_process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>

#include "base/file.h"
#include "guest-init/native_protocol.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

constexpr rlim_t kMaxOpenFiles = 1024;
// What the shell says when it cannot start a program.
constexpr int kStartFailed = 127;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe(int flags) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), flags | O_CLOEXEC) != 0) return FailErrno("pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<void> Succeed(int result, const char* what) {
  if (result != 0) return FailErrno(what);
  return {};
}

// Everything below runs in the child, between fork and exec: one thread, so all calls are allowed.

// The kernel's first root cannot be pivoted away from; the handler's root is moved over it instead,
// in a mount namespace of its own, so that nothing of init's files has a name any more.
Result<void> EnterRoot(const std::string& root) {
  TRY(Succeed(::unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP), "unshare"));
  TRY(Succeed(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private"));
  TRY(Succeed(::chdir(root.c_str()), "chdir to the root"));
  TRY(Succeed(::mount(".", "/", nullptr, MS_MOVE, nullptr), "move the root"));
  TRY(Succeed(::chroot("."), "chroot"));
  return Succeed(::chdir("/"), "chdir to /");
}

Result<void> DropPrivileges() {
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    // Kernels older than our headers do not know the last ones.
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  TRY(Succeed(::setgroups(0, nullptr), "setgroups"));
  TRY(Succeed(::setresgid(HandlerJail::kUser, HandlerJail::kUser, HandlerJail::kUser), "setgid"));
  TRY(Succeed(::setresuid(HandlerJail::kUser, HandlerJail::kUser, HandlerJail::kUser), "setuid"));
  return Succeed(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

Result<void> SetLimits() {
  const rlimit files{kMaxOpenFiles, kMaxOpenFiles};
  TRY(Succeed(::setrlimit(RLIMIT_NOFILE, &files), "limit of open files"));
  const rlimit cores{0, 0};
  return Succeed(::setrlimit(RLIMIT_CORE, &cores), "limit of core dumps");
}

void ResetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    // Fails for the two that cannot be caught, and for those of the C library.
    static_cast<void>(::signal(signal, SIG_DFL));
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Puts `channel`, `errors` and the pipes where the program expects them, and closes all others.
// The order matters: no descriptor is overwritten that is still to be copied.
Result<int> ArrangeDescriptors(int channel, int errors, int standard_output, int standard_error) {
  constexpr int kOutOfTheWay = 16;
  constexpr int kErrors = 4;
  const UniqueFd null = TRY(OpenFile("/dev/null", O_RDONLY));
  std::array<int, 5> sources{null.get(), standard_output, standard_error, channel, errors};
  for (int& source : sources) {
    if (source < 0) continue;
    source = ::fcntl(source, F_DUPFD_CLOEXEC, kOutOfTheWay);
    if (source < 0) return FailErrno("descriptors");
  }
  for (int target = 0; target <= kErrors; ++target) {
    const int source = sources[static_cast<size_t>(target)];
    const int flags = target == kErrors ? O_CLOEXEC : 0;
    if (source >= 0 && ::dup3(source, target, flags) < 0) return FailErrno("descriptors");
  }
  if (channel < 0) ::close(MAYFLY_NATIVE_FD);
  if (::syscall(SYS_close_range, kErrors + 1, ~0U, 0) != 0) return FailErrno("close_range");
  return kErrors;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<void> Become(const HandlerJail& jail, HandlerCommand& command) {
  ::setsid();
  ::umask(022);
  ResetSignals();
  if (jail.drop_privileges) {
    // Init is exempt from the OOM killer; its children are not.
    TRY(WriteText("/proc/self/oom_score_adj", "0"));
  }
  if (!jail.cgroup_procs.empty()) TRY(WriteText(jail.cgroup_procs, "0"));
  if (!jail.root.empty()) TRY(EnterRoot(jail.root));
  TRY(SetLimits());
  if (jail.drop_privileges) TRY(DropPrivileges());
  TRY(Succeed(::chdir(command.directory.c_str()), command.directory.c_str()));
  std::vector<char*> arguments = Pointers(command.arguments);
  std::vector<char*> environment = Pointers(command.environment);
  ::execve(arguments[0], arguments.data(), environment.data());
  return FailErrno(command.arguments[0]);
}

[[noreturn]] void RunChild(const HandlerJail& jail, HandlerCommand& command, int errors,
                           int standard_output, int standard_error) {
  const Result<int> arranged =
      ArrangeDescriptors(command.channel.get(), errors, standard_output, standard_error);
  const Result<void> failed =
      arranged ? Become(jail, command) : std::unexpected<Error>(arranged.error());
  const std::string& message = failed.error().message();
  [[maybe_unused]] const ssize_t written =
      ::write(arranged ? *arranged : errors, message.data(), message.size());
  ::_exit(kStartFailed);
}

}  // namespace

Result<std::unique_ptr<HandlerProcess>> HandlerProcess::Start(const HandlerJail& jail,
                                                              HandlerCommand command,
                                                              ChildReaper* reaper,
                                                              ExitCallback on_exit) {
  Pipe output = TRY(MakePipe(0));
  Pipe error = TRY(MakePipe(0));
  Pipe start_errors = TRY(MakePipe(0));
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno("fork");
  if (pid == 0) {
    RunChild(jail, command, start_errors.write.get(), output.write.get(), error.write.get());
  }
  // Only init's ends: non-blocking on the other end is nothing that programs expect.
  for (const UniqueFd* end : {&output.read, &error.read, &start_errors.read}) {
    ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
  }
  std::unique_ptr<HandlerProcess> process(new HandlerProcess());
  process->pid_ = pid;
  process->running_ = true;
  process->pipes_ = {std::move(output.read), std::move(error.read)};
  process->start_errors_ = std::move(start_errors.read);
  process->on_exit_ = std::move(on_exit);
  HandlerProcess* self = process.get();
  reaper->Expect(pid, [self](int status) { self->OnExit(status); });
  return process;
}

void HandlerProcess::OnExit(int status) {
  running_ = false;
  std::array<char, 512> text{};
  const ssize_t count = ::read(start_errors_.get(), text.data(), text.size());
  const bool failed_to_start =
      WIFEXITED(status) && WEXITSTATUS(status) == kStartFailed && count > 0;
  on_exit_({status, failed_to_start ? std::string(text.data(), static_cast<size_t>(count)) : ""});
}

void HandlerProcess::KillGroup() const {
  // setsid() made it the leader of a group with its own number. Until the child has got there, only
  // the process itself exists.
  if (!running_) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
}

bool HandlerProcess::HasEnded() const {
  siginfo_t ended{};
  return !running_ ||
         ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         ended.si_pid == pid_;
}

std::string DescribeExit(int status) {
  if (WIFSIGNALED(status)) {
    const char* name = ::sigabbrev_np(WTERMSIG(status));
    return "was killed by " + (name == nullptr ? "signal " + std::to_string(WTERMSIG(status))
                                               : "SIG" + std::string(name));
  }
  return "exited with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace mayfly::init
