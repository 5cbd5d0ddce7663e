#include "snapshot/snapshot_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr int kMostAttempts = 16;

Result<UniqueFd> OpenDirectory(const std::string& path) {
  return OpenFile(path, O_RDONLY | O_DIRECTORY);
}

// False if whoever removes directories has it. A file system that knows no locks has none to break.
bool LockShared(int fd) { return ::flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

bool IsStill(int fd, const std::string& path) {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

std::unexpected<Error> AlreadyThere(const std::string& path) {
  return Fail(ErrorCode::kInvalidArgument,
              path + ": already there; choose another name, or remove it");
}

std::unexpected<Error> NotRegular(const char* name) {
  return Fail(ErrorCode::kCorrupt, std::string(name) + ": not a regular file");
}

}  // namespace

Result<SnapshotFolder> SnapshotFolder::Open(const std::string& where) {
  std::string path = WithoutTrailingSlashes(where);
  UniqueFd fd = TRY(OpenDirectory(path));
  if (!LockShared(fd.get())) {
    return Fail(ErrorCode::kNotFound, path + ": somebody is removing it");
  }
  return SnapshotFolder(std::move(path), std::move(fd));
}

std::string SnapshotFolder::Resolve(const std::string& parent) const {
  return parent.starts_with('/') ? parent : DirectoryOf(path_) + "/" + parent;
}

Result<UniqueFd> SnapshotFolder::OpenMember(const char* name) const {
  UniqueFd fd;
  do {
    fd.Reset(::openat(fd_.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  } while (!fd.valid() && errno == EINTR);
  if (!fd.valid() && errno == ELOOP) return NotRegular(name);
  if (!fd.valid()) return FailErrno(std::string("open ") + name);
  return fd;
}

Result<std::vector<uint8_t>> SnapshotFolder::ReadMember(const char* name, uint64_t most) const {
  const UniqueFd fd = TRY(OpenMember(name));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return FailErrno(std::string("stat ") + name);
  if (!S_ISREG(status.st_mode)) return NotRegular(name);
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > most) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes, {} are possible", name, size, most));
  }
  std::vector<uint8_t> bytes(size);
  TRY(ReadExactAt(fd.get(), bytes, 0, name));
  return bytes;
}

Result<NewSnapshotFolder> NewSnapshotFolder::Create(const std::string& where) {
  std::string path = WithoutTrailingSlashes(where);
  if (PathExists(path)) return AlreadyThere(path);
  // Who looks for dead writers' directories may come between the making and the lock.
  for (int i = 0; i < kMostAttempts; ++i) {
    TempDir directory = TRY(TempDir::Create(path + SnapshotFiles::kPart));
    UniqueFd lock = TRY(OpenDirectory(directory.path()));
    if (!LockShared(lock.get()) || !IsStill(lock.get(), directory.path())) continue;
    return NewSnapshotFolder(std::move(path), std::move(directory), std::move(lock));
  }
  return Fail(ErrorCode::kHost, path + ": the directories for it vanish");
}

Result<UniqueFd> NewSnapshotFolder::CreateMember(const char* name) const {
  return OpenFile(directory_.path() + "/" + name, O_RDWR | O_CREAT | O_EXCL, 0600);
}

Result<void> NewSnapshotFolder::WriteMember(const char* name,
                                            std::span<const uint8_t> bytes) const {
  const UniqueFd fd = TRY(CreateMember(name));
  TRY(WriteAll(fd.get(), bytes, name));
  return SyncMember(fd.get(), name);
}

Result<void> NewSnapshotFolder::Publish() && {
  TRY(SyncMember(lock_.get(), directory_.path()));
  const char* const from = directory_.path().c_str();
  int renamed = ::renameat2(AT_FDCWD, from, AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
  if (renamed != 0 && errno == EINVAL) {
    // A file system that cannot promise it (9p, NFS): a directory with something in it is still not
    // replaced.
    if (PathExists(path_)) return AlreadyThere(path_);
    renamed = ::rename(from, path_.c_str());
  }
  if (renamed != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY) return AlreadyThere(path_);
    return FailErrno("rename to " + path_);
  }
  directory_.Release();
  return SyncDirectory(DirectoryOf(path_));
}

Result<void> SyncMember(int fd, const std::string& name) {
  while (::fsync(fd) != 0) {
    if (errno != EINTR) return FailErrno("sync " + name);
  }
  return {};
}

Result<void> SyncDirectory(const std::string& path) {
  const UniqueFd directory = TRY(OpenDirectory(path));
  return SyncMember(directory.get(), path);
}

Result<std::string> RealPath(const std::string& path) {
  char* const resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return FailErrno("resolve " + path);
  std::string absolute(resolved);
  ::free(resolved);
  return absolute;
}

std::string WithoutTrailingSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool PathExists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

}  // namespace mayfly
