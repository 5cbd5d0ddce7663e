#include "devices/virtio/blk/file_backend.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <vector>

#include "base/file.h"

namespace mayfly {
namespace {

Result<void> Lock(int fd, const std::string& name, bool read_only) {
  struct flock lock{};
  lock.l_type = read_only ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;  // With l_start and l_len 0: all of the file.
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) {
    return Fail(ErrorCode::kPermission,
                name + (read_only ? ": locked by somebody who writes to it"
                                  : ": in use by somebody else, cannot be opened for writing"));
  }
  return FailErrno("lock " + name);
}

// preadv() or pwritev() until everything is moved. A transfer of nothing is an error, or else a
// truncated file would be read for ever.
template <class Call>
Result<void> Transfer(std::span<const iovec> iovecs, uint64_t offset, const std::string& what,
                      Call call) {
  std::vector<iovec> rest(iovecs.begin(), iovecs.end());
  size_t next = 0;
  while (true) {
    while (next < rest.size() && rest[next].iov_len == 0) ++next;
    if (next == rest.size()) return {};
    const size_t count = std::min<size_t>(rest.size() - next, IOV_MAX);
    const ssize_t moved = call(&rest[next], static_cast<int>(count), static_cast<off_t>(offset));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return FailErrno(what);
    if (moved == 0) {
      return Fail(ErrorCode::kCorrupt, what + ": ends at byte " + std::to_string(offset));
    }
    offset += static_cast<uint64_t>(moved);
    auto left = static_cast<size_t>(moved);
    while (left > 0) {
      const size_t part = std::min(left, rest[next].iov_len);
      rest[next].iov_base = static_cast<uint8_t*>(rest[next].iov_base) + part;
      rest[next].iov_len -= part;
      left -= part;
      if (rest[next].iov_len == 0) ++next;
    }
  }
}

}  // namespace

Result<std::unique_ptr<FileBackend>> FileBackend::Open(const std::string& path, bool read_only,
                                                       std::string_view id) {
  return Create(TRY(OpenFile(path, read_only ? O_RDONLY : O_RDWR)), path, read_only, id);
}

Result<std::unique_ptr<FileBackend>> FileBackend::Create(UniqueFd fd, std::string name,
                                                         bool read_only, std::string_view id) {
  const uint64_t size = TRY(FileSize(fd.get(), name));
  TRY(Lock(fd.get(), name, read_only));
  return std::unique_ptr<FileBackend>(
      new FileBackend(std::move(fd), std::move(name), read_only, id, size));
}

Result<void> FileBackend::Read(std::span<const iovec> to, uint64_t offset) {
  return Transfer(to, offset, "read " + name_, [this](const iovec* iovecs, int count, off_t at) {
    return ::preadv(fd_.get(), iovecs, count, at);
  });
}

Result<void> FileBackend::Write(std::span<const iovec> from, uint64_t offset) {
  if (read_only_) return Fail(ErrorCode::kPermission, "write " + name_ + ": it is read-only");
  return Transfer(from, offset, "write " + name_, [this](const iovec* iovecs, int count, off_t at) {
    return ::pwritev(fd_.get(), iovecs, count, at);
  });
}

Result<void> FileBackend::Flush() {
  if (flush_failed_) return Fail(ErrorCode::kHost, "sync " + name_ + ": failed before");
  int result = 0;
  do {
    result = ::fdatasync(fd_.get());
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  flush_failed_ = true;
  return FailErrno("sync " + name_);
}

}  // namespace mayfly
