#include "jailer/cgroup_mounts.h"

#include <algorithm>
#include <sstream>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostBytes = 16 << 20;

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

// A line of /proc/self/mountinfo: "id parent dev root mount options [tags] - type source options".
std::optional<CgroupHierarchy> HierarchyOf(const std::string& line) {
  const std::vector<std::string> fields = Split(line, ' ');
  const auto dash = std::ranges::find(fields, "-");
  if (fields.size() < 6 || fields.end() - dash < 4) return std::nullopt;
  CgroupHierarchy hierarchy;
  hierarchy.mount = fields[4];
  if (dash[1] == "cgroup2") {
    hierarchy.unified = true;
    const auto available = ReadFile(hierarchy.mount + "/cgroup.controllers", kMostBytes);
    if (available) {
      std::istringstream words{std::string(AsText(*available))};
      for (std::string word; words >> word;) hierarchy.controllers.push_back(word);
    }
    return hierarchy;
  }
  if (dash[1] != "cgroup") return std::nullopt;
  for (std::string& option : Split(dash[3], ',')) {
    if (option == "blkio") option = "io";
    hierarchy.controllers.push_back(std::move(option));
  }
  return hierarchy;
}

// A line of /proc/self/cgroup: "id:controllers:path", "0::path" for version 2.
void SetOwn(std::vector<CgroupHierarchy>& hierarchies, const std::string& line) {
  const size_t first = line.find(':');
  const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
  if (second == std::string::npos) return;
  const std::string controllers = line.substr(first + 1, second - first - 1);
  for (CgroupHierarchy& hierarchy : hierarchies) {
    const bool same = hierarchy.unified
                          ? controllers.empty()
                          : std::ranges::any_of(Split(controllers, ','), [&](std::string name) {
                              if (name == "blkio") name = "io";
                              return hierarchy.Has(name);
                            });
    if (same) hierarchy.own = line.substr(second + 1);
  }
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
  for (const std::string& line : Split(cgroups, '\n')) SetOwn(mounts.hierarchies_, line);
  return mounts;
}

Result<CgroupMounts> CgroupMounts::OfThisProcess() {
  const auto mountinfo = TRY(ReadFile("/proc/self/mountinfo", kMostBytes));
  const auto cgroups = TRY(ReadFile("/proc/self/cgroup", kMostBytes));
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
