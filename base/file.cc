#include "base/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>

namespace mayfly {

Result<UniqueFd> OpenFile(const std::string& path, int flags, unsigned mode) {
  UniqueFd fd;
  do {
    fd.Reset(::open(path.c_str(), flags | O_CLOEXEC, mode));
  } while (!fd.valid() && errno == EINTR);
  if (!fd.valid()) return FailErrno("open " + path);
  return fd;
}

Result<uint64_t> FileSize(int fd, std::string_view name) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return FailErrno("stat " + std::string(name));
  if (S_ISREG(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  if (S_ISBLK(status.st_mode)) {
    uint64_t size = 0;
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) return FailErrno("size of " + std::string(name));
    return size;
  }
  return Fail(ErrorCode::kInvalidArgument,
              std::string(name) + ": neither a regular file nor a block device");
}

Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit) {
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY));
  std::vector<uint8_t> bytes;
  // Read in steps instead of trusting the size: files in /proc say 0.
  constexpr size_t kStep = size_t{64} * 1024;
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return FailErrno("stat " + path);
  bytes.reserve(std::min(static_cast<uint64_t>(status.st_size), limit) + kStep);
  while (true) {
    const size_t old_size = bytes.size();
    bytes.resize(old_size + kStep);
    const ssize_t count = ::read(fd.get(), bytes.data() + old_size, kStep);
    if (count < 0 && errno == EINTR) {
      bytes.resize(old_size);
      continue;
    }
    if (count < 0) return FailErrno("read " + path);
    bytes.resize(old_size + static_cast<size_t>(count));
    if (bytes.size() > limit) {
      return Fail(ErrorCode::kTooLarge, path + ": more than " + std::to_string(limit) + " bytes");
    }
    if (count == 0) return bytes;
  }
}

Result<void> ReadExactAt(int fd, std::span<uint8_t> bytes, uint64_t offset, std::string_view name) {
  while (!bytes.empty()) {
    const iovec to{bytes.data(), bytes.size()};
    const ssize_t count = ::preadv2(fd, &to, 1, static_cast<off_t>(offset), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("read " + std::string(name));
    if (count == 0) {
      return Fail(ErrorCode::kCorrupt, std::string(name) + ": ends after " +
                                           std::to_string(offset) + " bytes, more are needed");
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

Result<void> WriteAll(int fd, std::span<const uint8_t> bytes, std::string_view name) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("write " + std::string(name));
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace mayfly
