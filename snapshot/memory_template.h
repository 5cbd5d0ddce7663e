#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/memory_image.h"
#include "snapshot/restored_memory.h"

namespace mayfly {

// A snapshot's memory, once in this process for all clones that are made of it: a sealed memfd, so
// nobody can change or shorten it, and what was compared with its digests when the template was
// made needs no second look. Zero pages take no memory. Immutable; any thread.
//
// Clones do not need the template once they are made: each holds the memfd by its mapping, and the
// memory goes with the last of template and clones. What a clone writes is its own; a page that it
// only reads is shared by all. So whoever can measure the time of an access learns which pages
// other clones have touched: share a template among clones that may know that of each other.
class MemoryTemplate {
 public:
  // Reads all of `image`. Of the options only unverified, stamps and manifest are used.
  static Result<std::unique_ptr<MemoryTemplate>> Create(std::unique_ptr<MemoryImage> image,
                                                        const MemoryOptions& options);
  // Takes over the memory of a template of `bytes` that another process has made. kInvalidArgument
  // if it is not that: another size, or open to changes.
  static Result<std::unique_ptr<MemoryTemplate>> Adopt(UniqueFd fd, uint64_t bytes);
  MemoryTemplate(const MemoryTemplate&) = delete;
  MemoryTemplate& operator=(const MemoryTemplate&) = delete;

  // Memory for one clone, for MachineBuilder::Restore(), with a state that was saved with it. Of
  // the options only way, working_set and pager are used:
  //   kMap    a private mapping; the cheapest there is
  //   kUffd   the same under a pager, which maps a page when it is touched (UFFDIO_CONTINUE), so
  //           that the working set can be recorded, and is pushed beside the running guest
  //   kEager  a copy of its own
  [[nodiscard]] Result<RestoredMemory> Clone(const MemoryOptions& options) const;

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // The memfd, for private mappings of it.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  MemoryTemplate(UniqueFd fd, uint64_t bytes) : fd_(std::move(fd)), bytes_(bytes) {}

  const UniqueFd fd_;
  const uint64_t bytes_;
};

}  // namespace mayfly
