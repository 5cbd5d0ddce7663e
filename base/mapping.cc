#include "base/mapping.h"

namespace mayfly {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    Unmap();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void Mapping::Unmap() {
  if (data_ != nullptr) ::munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

Result<Mapping> Mapping::Anonymous(size_t size) {
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return FailErrno("map " + std::to_string(size) + " bytes of memory");
  Mapping mapping(static_cast<uint8_t*>(address), size);
  if (::madvise(address, size, MADV_DONTDUMP) != 0) return FailErrno("madvise(MADV_DONTDUMP)");
  return mapping;
}

Result<Mapping> Mapping::AnonymousHuge(size_t size) {
  constexpr size_t kHugePage = 2 << 20;
  // Room to align in; what is not needed goes back.
  Mapping reserved = TRY(Anonymous(size + kHugePage));
  uint8_t* const start = reserved.data_;
  uint8_t* const aligned = start + (-reinterpret_cast<uintptr_t>(start) & (kHugePage - 1));
  const size_t before = static_cast<size_t>(aligned - start);
  const size_t after = kHugePage - before;
  if (before > 0) ::munmap(start, before);
  if (after > 0) ::munmap(aligned + size, after);
  reserved.data_ = aligned;
  reserved.size_ = size;
  // Only a hint: a kernel without huge pages refuses it, and everything works with small ones.
  ::madvise(aligned, size, MADV_HUGEPAGE);
  return reserved;
}

Result<Mapping> Mapping::File(int fd, uint64_t offset, size_t size, int protection, int flags) {
  void* address = ::mmap(nullptr, size, protection, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return FailErrno("map a file");
  return Mapping(static_cast<uint8_t*>(address), size);
}

}  // namespace mayfly
