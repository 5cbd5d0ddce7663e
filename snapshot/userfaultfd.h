#pragma once

#include <linux/userfaultfd.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// One userfaultfd; a method is an ioctl of the same name (Linux,
// Documentation/admin-guide/mm/userfaultfd.rst). Non-blocking; any thread.
class Userfaultfd {
 public:
  struct Fault {
    uint8_t* address;  // Of the page.
    uint32_t thread;   // Who waits.
    bool write;
  };

  // For faults of the kernel's on behalf of the process too, as KVM's are. kPermission names what
  // to do about it.
  static Result<Userfaultfd> Create();

  // Missing pages of [start, start + size) are asked for from now on.
  [[nodiscard]] Result<void> Register(uint8_t* start, uint64_t size) const;
  // Up to 64 faults that wait; none if there are none now.
  [[nodiscard]] Result<std::vector<Fault>> Read() const;

  // Fills the pages of [to, to + from.size()) that are not there yet, and wakes whoever waits for
  // any of them. Pages that are not registered any more are left alone.
  [[nodiscard]] Result<void> Copy(uint8_t* to, std::span<const uint8_t> from) const;
  [[nodiscard]] Result<void> Zero(uint8_t* start, uint64_t size) const;
  // Has whoever waits for a page of the range try again.
  [[nodiscard]] Result<void> Wake(uint8_t* start, uint64_t size) const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit Userfaultfd(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace mayfly
