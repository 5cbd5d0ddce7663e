#include "devices/virtio/vsock/unix_endpoint.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "base/check.h"

namespace mayfly {
namespace {

// "_4294967295"
constexpr size_t kPortSuffix = 11;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UniqueFd> ConnectTo(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return FailErrno("socket");
  const sockaddr_un address = AddressOf(path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("connect to " + path);
  }
  return socket;
}

// Makes way for a new socket: what is there goes if it is a socket that nobody listens on.
Result<void> RemoveStaleSocket(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return FailErrno(path);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, path + ": is there, and is no socket");
  }
  const Result<UniqueFd> other = ConnectTo(path);
  if (other || other.error().errno_value() != ECONNREFUSED) {
    return Fail(ErrorCode::kInvalidArgument, path + ": is in use by another process");
  }
  if (::unlink(path.c_str()) != 0) return FailErrno("remove " + path);
  return {};
}

}  // namespace

Result<std::unique_ptr<UnixEndpoint>> UnixEndpoint::Create(const std::string& path) {
  if (path.size() + kPortSuffix >= sizeof(sockaddr_un::sun_path)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: a socket's path has at most {} bytes, so that \"_PORT\" fits "
                            "behind it; this has {}",
                            path, sizeof(sockaddr_un::sun_path) - kPortSuffix - 1, path.size()));
  }
  TRY(RemoveStaleSocket(path));
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return FailErrno("socket");
  const sockaddr_un address = AddressOf(path);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("bind " + path);
  }
  std::unique_ptr<UnixEndpoint> self(new UnixEndpoint(path, std::move(listener)));
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return FailErrno(path);
  self->device_ = status.st_dev;
  self->inode_ = status.st_ino;
  return self;
}

UnixEndpoint::~UnixEndpoint() {
  struct stat status{};
  if (::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

Result<void> UnixEndpoint::Listen() {
  if (::listen(listener_.get(), kListenBacklog) != 0) return FailErrno("listen on " + path_);
  return {};
}

Result<UniqueFd> UnixEndpoint::Accept() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) return FailErrno("accept on " + path_);
  return socket;
}

Result<UniqueFd> UnixEndpoint::Connect(uint32_t port) {
  return ConnectTo(fmt::format("{}_{}", path_, port));
}

}  // namespace mayfly
