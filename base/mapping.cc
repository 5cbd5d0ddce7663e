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

Result<Mapping> Mapping::File(int fd, uint64_t offset, size_t size, int protection, int flags) {
  void* address = ::mmap(nullptr, size, protection, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return FailErrno("map a file");
  return Mapping(static_cast<uint8_t*>(address), size);
}

}  // namespace mayfly
