#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly::init {

// The control group (v2) that holds everything of the handler's. What it may not do here: use the
// memory that init and the kernel need, make more than kMaxProcesses, survive Kill().
class HandlerCgroup {
 public:
  static constexpr uint64_t kMaxProcesses = 1024;
  // Half of what sibling groups get by default; init is not in any and runs before both.
  static constexpr uint64_t kCpuWeight = 50;

  // Makes it below `hierarchy` ("/sys/fs/cgroup") with `memory_bytes` at most. Controllers that the
  // kernel does not have are left out and named in missing().
  static Result<HandlerCgroup> Create(const std::string& hierarchy, uint64_t memory_bytes);

  [[nodiscard]] std::string procs_path() const { return path_ + "/cgroup.procs"; }
  void Kill() const;
  // Stops every process of the group where it is. Fails if one has not stopped within `limit`.
  Result<void> Freeze(std::chrono::milliseconds limit);
  // Ends a Freeze(), in one system call.
  [[nodiscard]] Result<void> Thaw() const;
  // Processes of the group that the kernel's OOM killer ended.
  [[nodiscard]] uint64_t OomKills() const;
  [[nodiscard]] uint64_t PeakMemory() const;
  [[nodiscard]] const std::string& missing() const { return missing_; }

 private:
  explicit HandlerCgroup(std::string path) : path_(std::move(path)) {}

  std::string path_;
  std::string missing_;
  UniqueFd freezer_;
  UniqueFd peak_;  // Read after every invocation, so its path is not looked up again.
};

}  // namespace mayfly::init
