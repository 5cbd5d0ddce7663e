#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jailer/cgroup_mounts.h"
#include "jailer/jail_id.h"

namespace mayfly {

// What one machine may take of the host. Nothing: no limit of its own.
struct CgroupLimits {
  std::optional<uint64_t> memory_bytes;  // Swap included.
  std::optional<uint32_t> cpu_percent;   // Of one processor: 150 is one and a half.
  std::optional<uint32_t> processes;     // Threads count.
  std::optional<uint32_t> io_weight;     // Relative to other groups, 1 to 1000; 100 is usual.

  bool operator==(const CgroupLimits&) const = default;
};

// A machine's control groups, one in each hierarchy that has a limit for it: mayfly/ID below the
// group of the caller. Owned by the supervisor, which removes them when the machine has ended.
class Cgroup {
 public:
  // One group, as a record of it keeps it for the collector.
  struct Place {
    std::string mount;
    std::string path;  // Below the mount, without a '/' in front.
  };

  // Where Create() will put them. kUnsupported names the controller that a limit needs and this
  // host lacks.
  static Result<std::vector<Place>> PlacesFor(const CgroupMounts& mounts, const JailId& id,
                                              const CgroupLimits& limits);
  // Creates the groups and sets the limits; nothing stays behind if it fails. Errors as of
  // PlacesFor().
  static Result<Cgroup> Create(const CgroupMounts& mounts, const JailId& id,
                               const CgroupLimits& limits);
  Cgroup(Cgroup&&) = default;
  Cgroup& operator=(Cgroup&&) = delete;
  ~Cgroup();

  // For the machine's process, while it has one thread: enters all groups.
  [[nodiscard]] Result<void> Join() const;

  // How many processes the kernel killed because the machine's memory was used up.
  [[nodiscard]] uint64_t OutOfMemoryKills() const;
  // How often the machine came to its limit. What the kernel wants for itself then, and cannot make
  // room for, fails with ENOMEM, and nobody is killed.
  [[nodiscard]] uint64_t MemoryLimitHits() const;

  // Removes the groups of `place` once whoever is left in it is dead; what is not there is fine.
  // `path` must be one of ours: mayfly/ID below anything.
  static Result<void> Remove(const Place& place);

 private:
  struct Group {
    const bool unified;
    Place place;
    UniqueFd directory;
    UniqueFd members;  // Who writes 0 to it enters.
  };

  Cgroup() = default;
  // The group that has `controller`; creates it if it is the first use.
  Result<Group*> GroupFor(const CgroupMounts& mounts, std::string_view controller,
                          const JailId& id);
  Result<void> SetLimits(const CgroupMounts& mounts, const JailId& id, const CgroupLimits& limits);

  std::vector<Group> groups_;
};

}  // namespace mayfly
