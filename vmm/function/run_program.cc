#include "vmm/function/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/unique_fd.h"

namespace mayfly {
namespace {

constexpr size_t kMostOutput = size_t{16} * 1024;

struct SpawnActions {
  SpawnActions() { ::posix_spawn_file_actions_init(&value); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&value); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t value;
};

struct SpawnAttributes {
  SpawnAttributes() { ::posix_spawnattr_init(&value); }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&value); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  posix_spawnattr_t value;
};

// A child process that is killed, unless it ended before, and always reaped.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    Wait();
  }

  int Wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

Result<pid_t> Spawn(const std::vector<std::string>& arguments, const std::string& directory,
                    int output) {
  SpawnActions actions;
  ::posix_spawn_file_actions_addchdir_np(&actions.value, directory.c_str());
  ::posix_spawn_file_actions_addopen(&actions.value, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions.value, output, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions.value, output, STDERR_FILENO);

  // Our signal mask is not the program's business; and a terminal's Ctrl-C must reach us alone, as
  // it is us who clean up.
  SpawnAttributes attributes;
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes.value, &none);
  ::posix_spawnattr_setpgroup(&attributes.value, 0);
  ::posix_spawnattr_setflags(&attributes.value, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);

  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const char* path = std::getenv("PATH");
  std::string path_variable = std::string("PATH=") + (path != nullptr ? path : "/usr/bin:/bin");
  std::array<char*, 2> environment{path_variable.data(), nullptr};

  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions.value, &attributes.value, argv.data(),
                                   environment.data());
  if (error != 0) return FailErrno("start " + arguments[0], error);
  return pid;
}

}  // namespace

Result<ProgramOutcome> RunProgram(const std::vector<std::string>& arguments,
                                  const std::string& directory, const Interrupts& interrupts) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return FailErrno("pipe");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  Child child(TRY(Spawn(arguments, directory, write_end.get())));
  write_end.Reset();

  // The pipe's end of file is the program's end: it starts no others.
  ProgramOutcome outcome;
  while (true) {
    std::array<pollfd, 2> waiting{pollfd{.fd = read_end.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = interrupts.fd(), .events = POLLIN, .revents = 0}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return FailErrno("poll");
    TRY(interrupts.Check());
    if (waiting[0].revents == 0) continue;
    std::array<char, 4096> piece{};
    const ssize_t count = ::read(read_end.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("read the output of " + arguments[0]);
    if (count == 0) break;
    const size_t room = kMostOutput - outcome.output.size();
    outcome.output.append(piece.data(), std::min(room, static_cast<size_t>(count)));
  }
  outcome.status = child.Wait();
  return outcome;
}

}  // namespace mayfly
