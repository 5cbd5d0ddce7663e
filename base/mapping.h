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
  Mapping(Mapping&& other) noexcept : range_(std::exchange(other.range_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { Unmap(); }

  // Private zero-filled memory, not reserved against overcommit and left out of core dumps: guest
  // memory belongs to the guest, not to whoever reads our crash reports.
  static Result<Mapping> Anonymous(size_t size);

  // The same at a multiple of 2 MiB, with huge pages where the host has them: a guest's first touch
  // of its memory is then one fault in 2 MiB instead of 512, each of which leaves the guest. In
  // front of it and behind it are at least kGuard bytes that nobody can touch: what runs out of a
  // guest's memory, by a fault of ours, ends the process instead of reaching others' memory.
  static Result<Mapping> AnonymousHuge(size_t size);
  static constexpr size_t kGuard = 64 << 10;

  // A private view of `fd` from `offset` (page-aligned) at such an address and between such guards:
  // what is written stays here, what is not is shared with everybody who has the file mapped.
  static Result<Mapping> PrivateFile(int fd, uint64_t offset, size_t size);

  // A view of `fd` from `offset` (page-aligned), with mmap()'s protection and flags.
  static Result<Mapping> File(int fd, uint64_t offset, size_t size, int protection, int flags);

  [[nodiscard]] uint8_t* data() const { return range_.data; }
  [[nodiscard]] size_t size() const { return range_.size; }

 private:
  struct Range {
    uint8_t* data = nullptr;
    size_t size = 0;
    // Mapped as well, and not accessible.
    size_t guard_before = 0;
    size_t guard_after = 0;
  };
  explicit Mapping(const Range& range) : range_(range) {}
  // Reserves the range and the guards; nothing of it is accessible yet.
  static Result<Mapping> Reserve(size_t size);
  void Unmap();

  Range range_;
};

}  // namespace mayfly
