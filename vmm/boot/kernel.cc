#include "vmm/boot/kernel.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>

#include <algorithm>

#include "base/arithmetic.h"
#include "base/file.h"
#include "vmm/boot/kernel_file.h"

namespace mayfly {

Result<KernelFile> KernelFile::Open(const std::string& path) {
  return Create(path, TRY(WithContext(OpenFile(path, O_RDONLY), "kernel")));
}

Result<KernelFile> KernelFile::Create(const std::string& path, UniqueFd fd) {
  const uint64_t size = TRY(WithContext(FileSize(fd.get(), path), "kernel"));
  return KernelFile(path, std::move(fd), size);
}

std::unexpected<Error> KernelFile::Corrupt(const std::string& what) const {
  return Fail(ErrorCode::kCorrupt, fmt::format("kernel: {}: {}", path_, what));
}

Result<void> KernelFile::Read(uint64_t offset, std::span<uint8_t> out) const {
  if (!RangeFits<uint64_t>(offset, out.size(), size_)) {
    return Corrupt(fmt::format("truncated: {} bytes at offset {} are needed, the file has {}",
                               out.size(), offset, size_));
  }
  return WithContext(ReadExactAt(fd_.get(), out, offset, path_), "kernel");
}

Result<void> KernelFile::ReadToGuest(uint64_t offset, uint64_t length, GuestAddress to,
                                     const GuestMemory& memory) const {
  if (!RangeFits(offset, length, size_)) {
    return Corrupt(fmt::format("truncated: {} bytes at offset {} are needed, the file has {}",
                               length, offset, size_));
  }
  if (!memory.Contains(to, length)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("kernel: {}: does not fit into {} MiB of guest memory", path_,
                            memory.size() >> 20));
  }
  while (length > 0) {
    const iovec destination = memory.Iovec(to, length);
    const ssize_t count = ::preadv(fd_.get(), &destination, 1, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("kernel: read " + path_);
    if (count == 0) return Corrupt("became shorter while it was read");
    offset += static_cast<uint64_t>(count);
    length -= static_cast<uint64_t>(count);
    to = to + static_cast<uint64_t>(count);
  }
  return {};
}

namespace {

Result<LoadedKernel> LoadKernelFile(const KernelFile& file, const GuestMemory& memory) {
  std::array<uint8_t, SELFMAG> magic{};
  TRY(file.Read(0, magic));
  if (std::equal(magic.begin(), magic.end(), ELFMAG)) return LoadElf(file, memory);
  return LoadBzImage(file, memory);
}

}  // namespace

Result<LoadedKernel> LoadKernel(const std::string& path, const GuestMemory& memory) {
  return LoadKernelFile(TRY(KernelFile::Open(path)), memory);
}

Result<LoadedKernel> LoadKernel(const std::string& path, UniqueFd fd, const GuestMemory& memory) {
  return LoadKernelFile(TRY(KernelFile::Create(path, std::move(fd))), memory);
}

Result<GuestAddress> LoadInitrd(std::span<const uint8_t> initrd, const LoadedKernel& kernel,
                                const GuestMemory& memory) {
  const uint64_t top = std::min({memory.size(), GuestMemory::kHoleStart, kernel.initrd_limit});
  const uint64_t bottom = AlignUp(kernel.end.value, GuestMemory::kPageSize);
  if (bottom > top || initrd.size() > top - bottom) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("initrd: {} bytes do not fit behind the kernel in {} MiB of guest "
                            "memory",
                            initrd.size(), memory.size() >> 20));
  }
  const GuestAddress start{AlignDown(top - initrd.size(), GuestMemory::kPageSize)};
  if (start.value < bottom || !memory.Write(start, initrd)) {
    return Fail(ErrorCode::kInvalidArgument, "initrd: does not fit behind the kernel");
  }
  return start;
}

}  // namespace mayfly
