#pragma once

#include <linux/userfaultfd.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// One userfaultfd; a method is an ioctl of the same name (Linux,
// Documentation/admin-guide/mm/userfaultfd.rst). Addresses are those of the process that created
// it, which need not be this one. Non-blocking; any thread.
class Userfaultfd {
 public:
  enum class Mode {
    kMissing,  // Pages that were never there: Copy() and Zero().
    kMinor,    // Pages of a memfd's that the file has and the mapping has not: Continue().
  };
  struct Fault {
    uint64_t address;  // Of the page.
    bool write;
  };

  // For faults of the kernel's on behalf of the process too, as KVM's are. kPermission names what
  // to do about it. `device` is /dev/userfaultfd, for whoever may not open it; -1: it is opened.
  static Result<Userfaultfd> Create(Mode mode = Mode::kMissing, int device = -1);
  // One that another process has created and registered. kInvalidArgument if it is something else.
  static Result<Userfaultfd> Adopt(UniqueFd fd);

  // The same one once more.
  [[nodiscard]] Result<Userfaultfd> Duplicate() const;

  // Pages of [start, start + size) that are not there are asked for from now on.
  [[nodiscard]] Result<void> Register(uint64_t start, uint64_t size) const;
  // Up to 64 faults that wait; none if there are none now.
  [[nodiscard]] Result<std::vector<Fault>> Read() const;

  // Fills the pages of [to, to + from.size()) that are not there yet, and wakes whoever waits for
  // any of them. Pages that are not registered any more are left alone.
  [[nodiscard]] Result<void> Copy(uint64_t to, std::span<const uint8_t> from) const;
  // The same for [start, start + size) with what the file has; pages that are holes in it are left
  // alone, for the kernel fills them by itself.
  [[nodiscard]] Result<void> Continue(uint64_t start, uint64_t size) const;
  // Has whoever waits for a page of the range try again.
  [[nodiscard]] Result<void> Wake(uint64_t start, uint64_t size) const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Userfaultfd(UniqueFd fd, Mode mode) : fd_(std::move(fd)), mode_(mode) {}

  UniqueFd fd_;
  Mode mode_;
};

}  // namespace mayfly
