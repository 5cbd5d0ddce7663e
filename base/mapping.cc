#include "base/mapping.h"

namespace mayfly {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    Unmap();
    range_ = std::exchange(other.range_, {});
  }
  return *this;
}

void Mapping::Unmap() {
  if (range_.data != nullptr) {
    ::munmap(range_.data - range_.guard_before,
             range_.guard_before + range_.size + range_.guard_after);
  }
  range_ = {};
}

Result<Mapping> Mapping::Anonymous(size_t size) {
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return FailErrno("map " + std::to_string(size) + " bytes of memory");
  Mapping mapping({static_cast<uint8_t*>(address), size});
  if (::madvise(address, size, MADV_DONTDUMP) != 0) return FailErrno("madvise(MADV_DONTDUMP)");
  return mapping;
}

Result<Mapping> Mapping::Reserve(size_t size) {
  constexpr size_t kHugePage = 2 << 20;
  // Room to align in; what is not needed for that makes the guards larger.
  const size_t reserved = size + kHugePage + 2 * kGuard;
  void* const start =
      ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return FailErrno("map " + std::to_string(size) + " bytes of memory");
  const auto first = reinterpret_cast<uintptr_t>(start) + kGuard;
  const size_t before = kGuard + (-first & (kHugePage - 1));
  return Mapping({static_cast<uint8_t*>(start) + before, size, before, reserved - before - size});
}

Result<Mapping> Mapping::AnonymousHuge(size_t size) {
  Mapping mapping = TRY(Reserve(size));
  if (::mprotect(mapping.data(), size, PROT_READ | PROT_WRITE) != 0) return FailErrno("mprotect");
  if (::madvise(mapping.data(), size, MADV_DONTDUMP) != 0) {
    return FailErrno("madvise(MADV_DONTDUMP)");
  }
  // Only a hint: a kernel without huge pages refuses it, and everything works with small ones.
  ::madvise(mapping.data(), size, MADV_HUGEPAGE);
  return mapping;
}

Result<Mapping> Mapping::PrivateFile(int fd, uint64_t offset, size_t size) {
  Mapping mapping = TRY(Reserve(size));
  void* const mapped =
      ::mmap(mapping.data(), size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
             fd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return FailErrno("map a file");
  if (::madvise(mapping.data(), size, MADV_DONTDUMP) != 0) {
    return FailErrno("madvise(MADV_DONTDUMP)");
  }
  return mapping;
}

Result<Mapping> Mapping::File(int fd, uint64_t offset, size_t size, int protection, int flags) {
  void* address = ::mmap(nullptr, size, protection, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return FailErrno("map a file");
  return Mapping({static_cast<uint8_t*>(address), size});
}

}  // namespace mayfly
