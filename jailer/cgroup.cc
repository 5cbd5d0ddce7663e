#include "jailer/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "jailer/safe_path.h"

namespace mayfly {
namespace {

constexpr char kFolder[] = "mayfly";
constexpr int kFolderAttempts = 100;
// In version 1 a thread that enters by itself needs no lock of the kernel's against its process
// having more: with it, entering takes 10 ms on a host that has just been idle. Version 2 knows
// nothing like it (but favordynmods: docs/production.md).
constexpr char kTasks[] = "tasks";
constexpr char kProcesses[] = "cgroup.procs";
constexpr uint64_t kCpuPeriodUs = 100'000;
constexpr uint64_t kSwapBeside = 1 << 20;
// A process that was killed is gone in milliseconds, unless the kernel is busy with its memory.
constexpr int kRemoveAttempts = 500;
constexpr std::chrono::milliseconds kRemovePause{10};

Result<void> Set(int directory, const std::string& file, const std::string& value) {
  const UniqueFd fd = TRY(OpenBeneath(directory, file, O_WRONLY | O_TRUNC));
  return WithContext(WriteAll(fd.get(), AsBytes(value), file), "cgroup");
}

Result<std::string> Get(int directory, const std::string& file) {
  const UniqueFd fd = TRY(OpenBeneath(directory, file, O_RDONLY));
  std::string text(4096, '\0');
  const ssize_t count = ::pread(fd.get(), text.data(), text.size(), 0);
  if (count < 0) return FailErrno("read " + file);
  text.resize(static_cast<size_t>(count));
  return text;
}

// The number behind `key` in lines of "key number"; 0 if there is none.
uint64_t NumberOf(const std::string& text, std::string_view key) {
  size_t at = 0;
  while (at < text.size()) {
    const std::string_view line = std::string_view(text).substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ' ') continue;
    uint64_t number = 0;
    std::from_chars(line.data() + key.size() + 1, line.data() + line.size(), number);
    return number;
  }
  return 0;
}

void KillAll(int directory) {
  const auto processes = Get(directory, kProcesses);
  if (!processes) return;
  const char* at = processes->data();
  const char* const end = at + processes->size();
  while (at < end) {
    pid_t process = 0;
    const auto parsed = std::from_chars(at, end, process);
    if (parsed.ec == std::errc() && process > 0) ::kill(process, SIGKILL);
    at = std::find(parsed.ptr, end, '\n') + 1;
  }
}

// Lets the groups below `directory` have `controller`; what is set already stays.
Result<void> Delegate(int directory, std::string_view controller) {
  return Set(directory, "cgroup.subtree_control", fmt::format("+{}", controller));
}

Result<void> DelegateBoth(int parent, int folder, std::string_view controller) {
  TRY(Delegate(parent, controller));
  return Delegate(folder, controller);
}

// The folder of all machines' groups, if it is not there, and the one of `id` in it.
Result<UniqueFd> MakeGroup(int parent, const CgroupHierarchy& hierarchy,
                           std::string_view controller, const JailId& id) {
  if (::mkdirat(parent, kFolder, 0755) != 0 && errno != EEXIST) {
    return FailErrno(std::string("create the cgroup ") + kFolder);
  }
  const UniqueFd folder = TRY(OpenBeneath(parent, kFolder, O_RDONLY | O_DIRECTORY));
  if (hierarchy.unified) TRY(DelegateBoth(parent, folder.get(), controller));
  if (::mkdirat(folder.get(), id.text().c_str(), 0755) != 0) {
    return FailErrno("create the cgroup " + id.text());
  }
  return OpenBeneath(folder.get(), id.text(), O_RDONLY | O_DIRECTORY);
}

// The last group takes the folder along; with others in it, it stays.
void RemoveFolder(int mount, const std::string& path) {
  const std::string above = path.substr(0, path.size() - (sizeof(kFolder) - 1));
  const auto parent = OpenBeneath(mount, above.empty() ? "." : above, O_RDONLY | O_DIRECTORY);
  if (parent) ::unlinkat(parent->get(), kFolder, AT_REMOVEDIR);
}

Result<const CgroupHierarchy*> HierarchyWith(const CgroupMounts& mounts,
                                             std::string_view controller) {
  const CgroupHierarchy* const hierarchy = mounts.Find(controller);
  if (hierarchy != nullptr) return hierarchy;
  return Fail(ErrorCode::kUnsupported,
              fmt::format("cgroup: this host has no controller \"{}\"", controller));
}

Cgroup::Place PlaceIn(const CgroupHierarchy& hierarchy, const JailId& id) {
  const std::string path = fmt::format("{}/{}/{}", hierarchy.Parent(), kFolder, id.text());
  return {hierarchy.mount, path.substr(1)};
}

std::vector<std::string_view> ControllersFor(const CgroupLimits& limits) {
  std::vector<std::string_view> controllers;
  if (limits.memory_bytes) controllers.emplace_back("memory");
  if (limits.cpu_percent) controllers.emplace_back("cpu");
  if (limits.processes) controllers.emplace_back("pids");
  if (limits.io_weight) controllers.emplace_back("io");
  return controllers;
}

Result<void> SetMemory(int directory, bool unified, uint64_t bytes) {
  if (unified) {
    TRY(Set(directory, "memory.max", std::to_string(bytes)));
    // Swapping is counted apart, and not there on every host.
    IgnoreFailure(Set(directory, "memory.swap.max", "0"));
    return Set(directory, "memory.oom.group", "1");
  }
  TRY(Set(directory, "memory.limit_in_bytes", std::to_string(bytes)));
  // The two together. A little more, so that it is memory alone that runs out: Linux 6.18 counts
  // that in memory.failcnt, but leaves memory.memsw.failcnt at 0.
  IgnoreFailure(Set(directory, "memory.memsw.limit_in_bytes", std::to_string(bytes + kSwapBeside)));
  return {};
}

Result<void> SetCpu(int directory, bool unified, uint32_t percent) {
  const uint64_t quota = percent * kCpuPeriodUs / 100;
  if (unified) return Set(directory, "cpu.max", fmt::format("{} {}", quota, kCpuPeriodUs));
  TRY(Set(directory, "cpu.cfs_period_us", std::to_string(kCpuPeriodUs)));
  return Set(directory, "cpu.cfs_quota_us", std::to_string(quota));
}

Result<void> SetIo(int directory, bool unified, uint32_t weight) {
  if (unified) return Set(directory, "io.weight", std::to_string(weight));
  // Which of the two there is depends on the scheduler of the host's disks.
  if (Set(directory, "blkio.weight", std::to_string(weight))) return {};
  return Set(directory, "blkio.bfq.weight", std::to_string(weight));
}

}  // namespace

Result<Cgroup::Group*> Cgroup::GroupFor(const CgroupMounts& mounts, std::string_view controller,
                                        const JailId& id) {
  const CgroupHierarchy* const hierarchy = TRY(HierarchyWith(mounts, controller));
  const UniqueFd mount = TRY(OpenFile(hierarchy->mount, O_RDONLY | O_DIRECTORY));
  const std::string parent_name = "." + hierarchy->Parent();
  const UniqueFd parent = TRY(OpenBeneath(mount.get(), parent_name, O_RDONLY | O_DIRECTORY));
  Place place = PlaceIn(*hierarchy, id);
  const auto known = std::ranges::find_if(groups_, [&](const Group& group) {
    return group.place.mount == place.mount && group.place.path == place.path;
  });
  if (known != groups_.end()) {
    const UniqueFd folder = TRY(OpenBeneath(parent.get(), kFolder, O_RDONLY | O_DIRECTORY));
    if (hierarchy->unified) TRY(DelegateBoth(parent.get(), folder.get(), controller));
    return &*known;
  }
  // Another machine's end may take the folder away until there is something in it.
  Result<UniqueFd> directory = MakeGroup(parent.get(), *hierarchy, controller, id);
  for (int attempt = 0; attempt < kFolderAttempts && !directory; ++attempt) {
    if (directory.error().errno_value() != ENOENT && directory.error().errno_value() != ENODEV) {
      break;
    }
    directory = MakeGroup(parent.get(), *hierarchy, controller, id);
  }
  if (!directory) return std::unexpected(std::move(directory).error());
  groups_.push_back({hierarchy->unified, std::move(place), std::move(*directory), UniqueFd()});
  Group& group = groups_.back();
  group.members =
      TRY(OpenBeneath(group.directory.get(), hierarchy->unified ? kProcesses : kTasks, O_WRONLY));
  return &group;
}

Result<std::vector<Cgroup::Place>> Cgroup::PlacesFor(const CgroupMounts& mounts, const JailId& id,
                                                     const CgroupLimits& limits) {
  std::vector<Place> places;
  for (const std::string_view controller : ControllersFor(limits)) {
    places.push_back(PlaceIn(*TRY(HierarchyWith(mounts, controller)), id));
  }
  return places;
}

Result<void> Cgroup::SetLimits(const CgroupMounts& mounts, const JailId& id,
                               const CgroupLimits& limits) {
  if (limits.memory_bytes) {
    const Group* const group = TRY(GroupFor(mounts, "memory", id));
    TRY(SetMemory(group->directory.get(), group->unified, *limits.memory_bytes));
  }
  if (limits.cpu_percent) {
    const Group* const group = TRY(GroupFor(mounts, "cpu", id));
    TRY(SetCpu(group->directory.get(), group->unified, *limits.cpu_percent));
  }
  if (limits.processes) {
    const Group* const group = TRY(GroupFor(mounts, "pids", id));
    TRY(Set(group->directory.get(), "pids.max", std::to_string(*limits.processes)));
  }
  if (limits.io_weight) {
    const Group* const group = TRY(GroupFor(mounts, "io", id));
    TRY(SetIo(group->directory.get(), group->unified, *limits.io_weight));
  }
  return {};
}

Result<Cgroup> Cgroup::Create(const CgroupMounts& mounts, const JailId& id,
                              const CgroupLimits& limits) {
  Cgroup cgroup;
  TRY(cgroup.SetLimits(mounts, id, limits));
  return cgroup;
}

Cgroup::~Cgroup() {
  // What cannot be removed now is the collector's.
  for (const Group& group : groups_) IgnoreFailure(Remove(group.place));
}

Result<void> Cgroup::Join() const {
  for (const Group& group : groups_) {
    TRY(WithContext(WriteAll(group.members.get(), AsBytes("0"), "enter"), group.place.path));
  }
  return {};
}

uint64_t Cgroup::OutOfMemoryKills() const {
  uint64_t kills = 0;
  for (const Group& group : groups_) {
    const auto events =
        Get(group.directory.get(), group.unified ? "memory.events" : "memory.oom_control");
    if (events) kills += NumberOf(*events, "oom_kill");
  }
  return kills;
}

uint64_t Cgroup::MemoryLimitHits() const {
  uint64_t hits = 0;
  for (const Group& group : groups_) {
    if (group.unified) {
      const auto events = Get(group.directory.get(), "memory.events");
      if (events) hits += NumberOf(*events, "max");
    } else if (const auto count = Get(group.directory.get(), "memory.failcnt")) {
      hits += std::strtoull(count->c_str(), nullptr, 10);
    }
  }
  return hits;
}

Result<void> Cgroup::Remove(const Place& place) {
  const size_t slash = place.path.rfind('/');
  if (slash == std::string::npos) return Fail(ErrorCode::kCorrupt, place.path + ": not ours");
  const JailId id = TRY(JailId::Parse(std::string_view(place.path).substr(slash + 1)));
  const std::string folder_path = place.path.substr(0, slash);
  if (folder_path != kFolder && !folder_path.ends_with(std::string("/") + kFolder)) {
    return Fail(ErrorCode::kCorrupt, place.path + ": not ours");
  }
  const UniqueFd mount = TRY(OpenFile(place.mount, O_RDONLY | O_DIRECTORY));
  const auto folder = OpenBeneath(mount.get(), folder_path, O_RDONLY | O_DIRECTORY);
  if (!folder && folder.error().code() == ErrorCode::kNotFound) return {};
  if (!folder) return std::unexpected(folder.error());
  for (int attempt = 0; attempt < kRemoveAttempts; ++attempt) {
    if (::unlinkat(folder->get(), id.text().c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
      RemoveFolder(mount.get(), folder_path);
      return {};
    }
    if (errno != EBUSY) break;
    const auto group = OpenBeneath(folder->get(), id.text(), O_RDONLY | O_DIRECTORY);
    if (group) KillAll(group->get());
    std::this_thread::sleep_for(kRemovePause);
  }
  return FailErrno("remove the cgroup " + place.path);
}

}  // namespace mayfly
