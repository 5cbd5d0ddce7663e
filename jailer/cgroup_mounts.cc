#include "jailer/cgroup_mounts.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostBytes = 16 << 20;
constexpr std::array<std::string_view, 4> kLimiting{"memory", "cpu", "pids", "io"};

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool Contains(const std::vector<std::string>& list, std::string_view item) {
  return std::ranges::find(list, item) != list.end();
}

CgroupHierarchy OfVersion2(std::string mount) {
  CgroupHierarchy hierarchy{.unified = true, .mount = std::move(mount)};
  const auto available = ReadFile(hierarchy.mount + "/cgroup.controllers", kMostBytes);
  if (available) {
    std::istringstream words{std::string(AsText(*available))};
    for (std::string word; words >> word;) hierarchy.controllers.push_back(word);
  }
  return hierarchy;
}

CgroupHierarchy OfVersion1(std::string mount, std::string_view controllers) {
  CgroupHierarchy hierarchy{.mount = std::move(mount)};
  for (std::string& name : Split(controllers, ',')) {
    if (name == "blkio") name = "io";
    hierarchy.controllers.push_back(std::move(name));
  }
  return hierarchy;
}

// A line of /proc/self/mountinfo: "id parent dev root mount options [tags] - type source options".
std::optional<CgroupHierarchy> HierarchyOf(const std::string& line) {
  std::vector<std::string> fields = Split(line, ' ');
  const auto dash = std::ranges::find(fields, "-");
  if (fields.size() < 6 || fields.end() - dash < 4) return std::nullopt;
  if (dash[1] == "cgroup2") return OfVersion2(std::move(fields[4]));
  if (dash[1] == "cgroup") return OfVersion1(std::move(fields[4]), dash[3]);
  return std::nullopt;
}

// A line of /proc/self/cgroup: "id:controllers:path", "0::path" for version 2.
struct OwnGroup {
  std::string controllers;
  std::string path;
};

std::vector<OwnGroup> ParseOwn(std::string_view cgroups) {
  std::vector<OwnGroup> groups;
  for (const std::string& line : Split(cgroups, '\n')) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    groups.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return groups;
}

void SetOwn(std::vector<CgroupHierarchy>& hierarchies, const OwnGroup& group) {
  for (CgroupHierarchy& hierarchy : hierarchies) {
    const bool same = hierarchy.unified ? group.controllers.empty()
                                        : std::ranges::any_of(Split(group.controllers, ','),
                                                              [&](std::string name) {
                                                                if (name == "blkio") name = "io";
                                                                return hierarchy.Has(name);
                                                              });
    if (same) hierarchy.own = group.path;
  }
}

bool IsMounted(const std::string& path, long magic) {
  struct statfs info{};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == magic;
}

// Hierarchies where systemd and container runtimes mount them; nothing if one is not there. Of
// version 1 only those that limit what a machine's limits are of.
std::optional<std::vector<CgroupHierarchy>> AtUsualPlaces(const std::vector<OwnGroup>& groups) {
  constexpr char kPlace[] = "/sys/fs/cgroup";
  std::vector<CgroupHierarchy> hierarchies;
  for (const OwnGroup& group : groups) {
    std::string mount = kPlace;
    if (!group.controllers.empty()) {
      mount += "/" + group.controllers;
      CgroupHierarchy hierarchy = OfVersion1(mount, group.controllers);
      if (std::ranges::none_of(kLimiting, [&](auto name) { return hierarchy.Has(name); })) continue;
      if (!IsMounted(mount, CGROUP_SUPER_MAGIC)) return std::nullopt;
      hierarchy.own = group.path;
      hierarchies.push_back(std::move(hierarchy));
      continue;
    }
    if (!IsMounted(mount, CGROUP2_SUPER_MAGIC)) mount += "/unified";
    if (!IsMounted(mount, CGROUP2_SUPER_MAGIC)) return std::nullopt;
    hierarchies.push_back(OfVersion2(std::move(mount)));
    hierarchies.back().own = group.path;
  }
  return hierarchies;
}

}  // namespace

bool CgroupHierarchy::Has(std::string_view controller) const {
  return Contains(controllers, controller);
}

std::string CgroupHierarchy::Parent() const {
  if (!unified || own == "/") return own == "/" ? "" : own;
  return own.substr(0, own.rfind('/'));
}

CgroupMounts CgroupMounts::Parse(std::string_view mountinfo, std::string_view cgroups) {
  CgroupMounts mounts;
  for (const std::string& line : Split(mountinfo, '\n')) {
    if (auto hierarchy = HierarchyOf(line)) mounts.hierarchies_.push_back(std::move(*hierarchy));
  }
  for (const OwnGroup& group : ParseOwn(cgroups)) SetOwn(mounts.hierarchies_, group);
  return mounts;
}

Result<CgroupMounts> CgroupMounts::OfThisProcess() {
  const auto cgroups = TRY(ReadFile("/proc/self/cgroup", kMostBytes));
  // The list of mounts takes the longer the more the host has.
  if (auto usual = AtUsualPlaces(ParseOwn(AsText(cgroups)))) {
    CgroupMounts mounts;
    mounts.hierarchies_ = std::move(*usual);
    return mounts;
  }
  const auto mountinfo = TRY(ReadFile("/proc/self/mountinfo", kMostBytes));
  return Parse(AsText(mountinfo), AsText(cgroups));
}

const CgroupHierarchy* CgroupMounts::Find(std::string_view controller) const {
  // A controller is in one hierarchy at a time; what both claim, version 1 has.
  const auto found = std::ranges::find_if(hierarchies_, [&](const CgroupHierarchy& hierarchy) {
    return !hierarchy.own.empty() && hierarchy.Has(controller);
  });
  return found == hierarchies_.end() ? nullptr : &*found;
}

}  // namespace mayfly
