#include "vmm/cli/pager_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace mayfly {

Result<PagerProcess> PagerProcess::Start(const RestoreOptions& options) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return FailErrno("socketpair");
  }
  UniqueFd socket(ends[0]);
  const UniqueFd theirs(ends[1]);
  std::vector<std::string> arguments{"mayfly", "pager", options.directory, "--fd",
                                     fmt::format("{}", theirs.get())};
  if (options.unverified) arguments.emplace_back("--unverified");
  if (!options.use_working_set) arguments.emplace_back("--no-working-set");
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::fcntl(theirs.get(), F_SETFD, 0);
    ::execv("/proc/self/exe", pointers.data());
    ::_exit(127);
  }
  return PagerProcess(std::move(socket), pid);
}

PagerProcess::~PagerProcess() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace mayfly
