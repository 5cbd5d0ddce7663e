#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

// Where this host has its control groups: hierarchies of version 1, of version 2, or both.
struct CgroupHierarchy {
  bool unified = false;                    // Version 2.
  std::string mount{};                     // Where it is mounted.
  std::vector<std::string> controllers{};  // That can be used there.
  std::string own{};  // The group of this process, below `mount`: "/" at least.

  [[nodiscard]] bool Has(std::string_view controller) const;
  // Below which a machine's group belongs: the caller's limits stay in force for it. In version 2
  // that is beside the caller, because a group with processes cannot have groups with controllers.
  [[nodiscard]] std::string Parent() const;
};

class CgroupMounts {
 public:
  // `mountinfo` and `cgroups` as in /proc/self/mountinfo and /proc/self/cgroup. Reads
  // cgroup.controllers of a mount of version 2.
  static CgroupMounts Parse(std::string_view mountinfo, std::string_view cgroups);
  static Result<CgroupMounts> OfThisProcess();

  // What `controller` ("memory", "cpu", "pids", "io", whose name in version 1 is blkio) is to be
  // had from; null if nothing has it.
  [[nodiscard]] const CgroupHierarchy* Find(std::string_view controller) const;
  [[nodiscard]] const std::vector<CgroupHierarchy>& all() const { return hierarchies_; }

 private:
  std::vector<CgroupHierarchy> hierarchies_;
};

}  // namespace mayfly
