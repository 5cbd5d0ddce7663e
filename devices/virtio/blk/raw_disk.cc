#include "devices/virtio/blk/raw_disk.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "base/file.h"
#include "devices/virtio/blk/iovec_cursor.h"

namespace mayfly {
namespace {

constexpr uint32_t kMostPhysicalBlock = 64 * 1024;

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

Result<void> CheckAccess(int fd, const std::string& name, bool read_only) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return FailErrno("flags of " + name);
  if ((flags & O_ACCMODE) == (read_only ? O_RDONLY : O_RDWR)) return {};
  return Fail(ErrorCode::kInvalidArgument,
              name + (read_only ? ": the descriptor of a read-only disk can write"
                                : ": the descriptor cannot both read and write"));
}

// What the host says of its blocks; a hint for the guest, so failure means the least.
DiskInfo InfoOf(int fd, uint64_t size, bool read_only) {
  DiskInfo info{.size = size, .read_only = read_only};
  struct stat status{};
  uint32_t block = 0;
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    block = static_cast<uint32_t>(status.st_blksize);
  } else if (::ioctl(fd, BLKPBSZGET, &block) == 0) {
    unsigned optimal = 0;
    if (::ioctl(fd, BLKIOOPT, &optimal) == 0) info.optimal_io_size = optimal;
  }
  if (std::has_single_bit(block)) {
    info.physical_block_size = std::clamp<uint32_t>(block, 512, kMostPhysicalBlock);
  }
  return info;
}

// preadv2() or pwritev2() until everything is moved. A transfer of nothing is an error, or else a
// truncated file would be read for ever.
template <class Call>
Result<void> Transfer(IovecCursor cursor, uint64_t offset, const std::string& what, Call call) {
  while (!cursor.done()) {
    const ssize_t moved =
        call(cursor.data(), static_cast<int>(cursor.count()), static_cast<off_t>(offset));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return FailErrno(what);
    if (moved == 0) {
      return Fail(ErrorCode::kCorrupt, what + ": ends at byte " + std::to_string(offset));
    }
    offset += static_cast<uint64_t>(moved);
    cursor.Advance(static_cast<size_t>(moved));
  }
  return {};
}

int Allocate(int fd, int mode, uint64_t offset, uint64_t length) {
  int result = 0;
  do {
    result = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (result != 0 && errno == EINTR);
  return result;
}

}  // namespace

int DiscardMode() { return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE; }

int WriteZeroesMode(bool may_unmap) {
  return may_unmap ? DiscardMode() : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
}

std::vector<iovec> ZeroIovecs(uint64_t length) {
  static std::array<uint8_t, size_t{64} * 1024> zeros;
  std::vector<iovec> iovecs;
  for (; length > 0; length -= iovecs.back().iov_len) {
    iovecs.push_back({zeros.data(), std::min<uint64_t>(length, zeros.size())});
  }
  return iovecs;
}

Result<std::unique_ptr<RawDisk>> RawDisk::Open(const std::string& path, bool read_only) {
  return Create(TRY(OpenFile(path, read_only ? O_RDONLY : O_RDWR)), path, read_only);
}

Result<std::unique_ptr<RawDisk>> RawDisk::Create(UniqueFd fd, std::string name, bool read_only) {
  const uint64_t size = TRY(FileSize(fd.get(), name));
  TRY(CheckAccess(fd.get(), name, read_only));
  TRY(Lock(fd.get(), name, read_only));
  const DiskInfo info = InfoOf(fd.get(), size, read_only);
  return std::unique_ptr<RawDisk>(new RawDisk(std::move(fd), std::move(name), info));
}

Result<void> RawDisk::CheckWritable(std::string_view what) const {
  if (!info_.read_only) return {};
  return Fail(ErrorCode::kPermission, std::string(what) + " " + name_ + ": it is read-only");
}

Result<void> RawDisk::Read(std::span<const iovec> to, uint64_t offset) {
  return Transfer(IovecCursor(to), offset, "read " + name_,
                  [this](const iovec* iovecs, int count, off_t at) {
                    return ::preadv2(fd_.get(), iovecs, count, at, 0);
                  });
}

Result<void> RawDisk::Write(std::span<const iovec> from, uint64_t offset) {
  TRY(CheckWritable("write"));
  return Transfer(IovecCursor(from), offset, "write " + name_,
                  [this](const iovec* iovecs, int count, off_t at) {
                    return ::pwritev2(fd_.get(), iovecs, count, at, 0);
                  });
}

Result<void> RawDisk::Flush() {
  if (flush_failed_) return Fail(ErrorCode::kHost, "sync " + name_ + ": failed before");
  int result = 0;
  do {
    result = ::fdatasync(fd_.get());
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  flush_failed_ = true;
  return FailErrno("sync " + name_);
}

Result<void> RawDisk::Discard(uint64_t offset, uint64_t length) {
  TRY(CheckWritable("discard"));
  if (Allocate(fd_.get(), DiscardMode(), offset, length) == 0) return {};
  return FailErrno("discard " + name_);
}

Result<void> RawDisk::WriteZeroes(uint64_t offset, uint64_t length, bool may_unmap) {
  TRY(CheckWritable("write zeroes"));
  if (Allocate(fd_.get(), WriteZeroesMode(may_unmap), offset, length) == 0) return {};
  if (errno != EOPNOTSUPP) return FailErrno("write zeroes " + name_);
  const std::vector<iovec> zeros = ZeroIovecs(length);
  return Write(zeros, offset);
}

bool RawDisk::ReadNow(std::span<const iovec> to, uint64_t offset) {
  if (to.size() > IOV_MAX || !can_read_now_.load(std::memory_order_relaxed)) return false;
  size_t length = 0;
  for (const iovec& part : to) length += part.iov_len;
  const ssize_t moved = ::preadv2(fd_.get(), to.data(), static_cast<int>(to.size()),
                                  static_cast<off_t>(offset), RWF_NOWAIT);
  if (moved < 0 && errno == EOPNOTSUPP) can_read_now_.store(false, std::memory_order_relaxed);
  return moved == static_cast<ssize_t>(length);
}

}  // namespace mayfly
