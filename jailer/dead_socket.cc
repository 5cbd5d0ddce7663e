#include "jailer/dead_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/unique_fd.h"

namespace mayfly {
namespace {

// Where there are no control groups, a process that dies with its supervisor still listens for the
// blink of an eye.
constexpr int kMostTries = 100;
constexpr int kPauseMilliseconds = 10;

// Through the descriptor of the socket's file: the name could be another's by now.
bool Listens(int file) {
  const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(static_cast<char*>(address.sun_path), sizeof(address.sun_path) - 1,
                   "/proc/self/fd/{}", file);
  const int result =
      ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  return result == 0 || errno != ECONNREFUSED;
}

Result<void> UnlessGone(const std::string& path) {
  if (errno == ENOENT || errno == ENOTDIR) return {};
  return FailErrno(path);
}

}  // namespace

Result<void> RemoveDeadSocket(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd directory(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return UnlessGone(path);
  const UniqueFd file(::openat(directory.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) return UnlessGone(path);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return FailErrno(path);
  if (!S_ISSOCK(status.st_mode) || status.st_uid != ::geteuid()) return {};
  for (int i = 0; Listens(file.get()); ++i) {
    // Somebody else's by now.
    if (i == kMostTries) return {};
    ::poll(nullptr, 0, kPauseMilliseconds);
  }
  if (::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT) return FailErrno(path);
  return {};
}

}  // namespace mayfly
