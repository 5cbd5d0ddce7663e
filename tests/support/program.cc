#include "tests/support/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/unique_fd.h"

namespace mayfly {
namespace {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Pipe MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Reads what there is; false at the end of file.
bool ReadSome(int fd, std::string* to) {
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count > 0) to->append(buffer.data(), static_cast<size_t>(count));
  return count > 0;
}

}  // namespace

ProgramResult RunProgram(const std::vector<std::string>& command, const std::string& input,
                         std::chrono::seconds timeout) {
  Pipe in = MakePipe();
  Pipe out = MakePipe();
  Pipe err = MakePipe();
  const auto start = std::chrono::steady_clock::now();
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(in.read.get(), STDIN_FILENO);
    ::dup2(out.write.get(), STDOUT_FILENO);
    ::dup2(err.write.get(), STDERR_FILENO);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();
  ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);

  ProgramResult result{-1, "", "", {}};
  size_t sent = 0;
  bool killed = false;
  while (out.read.valid() || err.read.valid()) {
    if (sent == input.size()) in.write.Reset();
    std::array<pollfd, 3> events{
        {{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}}};
    ::poll(events.data(), events.size(), 100);
    if (events[0].revents != 0 && !ReadSome(out.read.get(), &result.out)) out.read.Reset();
    if (events[1].revents != 0 && !ReadSome(err.read.get(), &result.err)) err.read.Reset();
    if (events[2].revents != 0) {
      const ssize_t count = ::write(in.write.get(), input.data() + sent, input.size() - sent);
      if (count > 0) sent += static_cast<size_t>(count);
      if (count < 0 && errno != EAGAIN) sent = input.size();
    }
    if (!killed && std::chrono::steady_clock::now() - start > timeout) {
      ::kill(child, SIGKILL);
      killed = true;
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  result.elapsed = std::chrono::steady_clock::now() - start;
  if (killed) return result;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace mayfly
