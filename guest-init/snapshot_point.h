#pragma once

#include "base/mapping.h"
#include "base/restore_page.h"
#include "base/unique_fd.h"
#include "guest-init/platform.h"

namespace mayfly::init {

// Where snapshots of the machine are taken and each life of one begins. What the way into a life
// needs is opened and mapped by Create(), because every restore waits for it: it is five system
// calls long.
class SnapshotPoint {
 public:
  // Fails if the VMM has no restore page, or one of another version.
  static Result<SnapshotPoint> Create();

  // Empties the caches of files and gives the memory that nobody uses back to the VMM, or makes it
  // zero, nearly all of it: neither takes a place in a snapshot. Nothing else may run that needs
  // much memory.
  Result<void> DropUnusedMemory() const;

  // Rings the doorbell; returns in a life, with the kernel's random numbers reseeded, a boot id of
  // its own and the clock set. After an error no program may run any more: it could see what
  // another life saw.
  Result<Platform::Life> Pass() const;

 private:
  struct Descriptors {
    UniqueFd random;
    UniqueFd uuids;  // Has another whenever it is read.
    UniqueFd boot_id;
  };
  SnapshotPoint(Mapping page, Mapping doorbell, Descriptors descriptors)
      : page_(std::move(page)),
        doorbell_(std::move(doorbell)),
        descriptors_(std::move(descriptors)) {}
  // Tells the VMM of the pages of `unused`, which nobody touches any more.
  [[nodiscard]] Result<void> Discard(const std::vector<Mapping>& unused) const;
  [[nodiscard]] Result<void> Reseed(const RestorePage& page) const;
  [[nodiscard]] Result<void> RenewBootId() const;

  Mapping page_;
  Mapping doorbell_;
  Descriptors descriptors_;
};

}  // namespace mayfly::init
