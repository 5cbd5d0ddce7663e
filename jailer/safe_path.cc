#include "jailer/safe_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mayfly {
namespace {

constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;

Result<UniqueFd> Open(int directory, const std::string& name, int flags, mode_t mode,
                      uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = resolve;
  UniqueFd fd;
  // EAGAIN: something on the way was renamed meanwhile.
  do {
    fd.Reset(static_cast<int>(::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof(how))));
  } while (!fd.valid() && (errno == EINTR || errno == EAGAIN));
  if (!fd.valid()) return FailErrno("open " + name);
  return fd;
}

Result<UniqueFd> OpenDirectory(int parent, const std::string& name) {
  return Open(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
              RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

}  // namespace

Result<UniqueFd> OpenPrivateDirectory(const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return Fail(ErrorCode::kInvalidArgument, path + ": not an absolute path");
  }
  UniqueFd directory = TRY(OpenDirectory(AT_FDCWD, "/"));
  for (size_t begin = 1; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    Result<UniqueFd> next = OpenDirectory(directory.get(), name);
    if (!next && next.error().code() == ErrorCode::kNotFound) {
      if (::mkdirat(directory.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
        return FailErrno("create " + path);
      }
      next = OpenDirectory(directory.get(), name);
    }
    directory = TRY(WithContext(std::move(next), path));
  }
  struct stat status{};
  if (::fstat(directory.get(), &status) != 0) return FailErrno("stat " + path);
  if (status.st_uid != ::geteuid() || (status.st_mode & kOthersWrite) != 0) {
    return Fail(ErrorCode::kPermission,
                path + ": not a directory that this user alone can write to");
  }
  return directory;
}

Result<UniqueFd> OpenBeneath(int directory, const std::string& name, int flags) {
  return Open(directory, name, flags | O_NOFOLLOW, 0,
              RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

Result<UniqueFd> CreateBeneath(int directory, const std::string& name) {
  return Open(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600,
              RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

Result<std::string> ReadOwnFile(int directory, const std::string& name, size_t limit) {
  const UniqueFd file = TRY(OpenBeneath(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return FailErrno("stat " + name);
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid() || status.st_nlink != 1) {
    return Fail(ErrorCode::kPermission, name + ": not a file of this user's alone");
  }
  std::string text(limit, '\0');
  const ssize_t count = ::pread(file.get(), text.data(), text.size(), 0);
  if (count < 0) return FailErrno("read " + name);
  text.resize(static_cast<size_t>(count));
  return text;
}

}  // namespace mayfly
