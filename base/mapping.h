#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/result.h"

namespace mayfly {

// Owns one mmap()ed range of the process and unmaps it. Move-only; the address does not change
// when the owner moves.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { Unmap(); }

  // Private zero-filled memory, not reserved against overcommit and left out of core dumps: guest
  // memory belongs to the guest, not to whoever reads our crash reports.
  static Result<Mapping> Anonymous(size_t size);

  // The same at a multiple of 2 MiB, with huge pages where the host has them: a guest's first touch
  // of its memory is then one fault in 2 MiB instead of 512, each of which leaves the guest.
  static Result<Mapping> AnonymousHuge(size_t size);

  // A view of `fd` from `offset` (page-aligned), with mmap()'s protection and flags.
  static Result<Mapping> File(int fd, uint64_t offset, size_t size, int protection, int flags);

  [[nodiscard]] uint8_t* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  Mapping(uint8_t* data, size_t size) : data_(data), size_(size) {}
  void Unmap();

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace mayfly
