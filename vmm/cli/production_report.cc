#include "vmm/cli/production_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1024} * 1024;

// Without the newline at its end; empty if there is no such file.
std::string ReadLine(const std::string& path) {
  const auto bytes = ReadFile(path, kMostBytes);
  if (!bytes) return "";
  const std::string_view text = AsText(*bytes);
  return std::string(text.substr(0, text.find('\n')));
}

HostCheck Judge(std::string name, std::string found, bool good, std::string advice) {
  HostCheck check;
  check.name = std::move(name);
  check.found = found.empty() ? "not there" : std::move(found);
  check.status = good ? CheckStatus::kOk : CheckStatus::kWarning;
  if (!good) check.advice = std::move(advice);
  return check;
}

HostCheck CheckSmt(const std::string& root) {
  const std::string active = ReadLine(root + "/sys/devices/system/cpu/smt/active");
  return Judge("SMT", active == "1" ? "on" : "off", active != "1",
               "echo off > /sys/devices/system/cpu/smt/control, or one tenant for each core");
}

HostCheck CheckKsm(const std::string& root) {
  const std::string run = ReadLine(root + "/sys/kernel/mm/ksm/run");
  return Judge("KSM", run == "1" ? "on" : "off", run != "1", "echo 0 > /sys/kernel/mm/ksm/run");
}

HostCheck CheckSwap(const std::string& root) {
  const auto bytes = ReadFile(root + "/proc/swaps", kMostBytes);
  const std::string_view text = bytes ? AsText(*bytes) : std::string_view();
  const bool some = std::ranges::count(text, '\n') > 1;
  return Judge("swap", some ? "on" : "none", !some, "swapoff -a");
}

HostCheck CheckHugePages(const std::string& root) {
  const std::string value = ReadLine(root + "/sys/module/kvm/parameters/nx_huge_pages");
  const std::string bug = ReadLine(root + "/sys/devices/system/cpu/vulnerabilities/itlb_multihit");
  const bool needed = !bug.empty() && !bug.starts_with("Not affected");
  return Judge("nx_huge_pages", value, needed || value.empty() || value == "N" || value == "never",
               "modprobe kvm nx_huge_pages=never: this processor does not need it");
}

HostCheck CheckCgroups(const std::string& root) {
  std::istringstream mounts{[&] {
    const auto bytes = ReadFile(root + "/proc/mounts", kMostBytes);
    return bytes ? std::string(AsText(*bytes)) : std::string();
  }()};
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string source;
    std::string target;
    std::string type;
    std::string options;
    fields >> source >> target >> type >> options;
    if (type != "cgroup2") continue;
    const bool limits =
        ReadLine(root + target + "/cgroup.controllers").find("memory") != std::string::npos;
    const bool quick = options.find("favordynmods") != std::string::npos;
    return Judge("cgroup", fmt::format("version 2{}", quick ? ", favordynmods" : ""),
                 limits && quick,
                 limits ? "mount -o remount,favordynmods " + target
                        : "use version 2 for memory, cpu and pids");
  }
  return Judge("cgroup", "version 1", false, "use version 2, mounted with favordynmods");
}

HostCheck CheckNesting(const std::string& root) {
  for (const char* const module : {"kvm_amd", "kvm_intel"}) {
    const std::string value =
        ReadLine(fmt::format("{}/sys/module/{}/parameters/nested", root, module));
    if (value.empty()) continue;
    const bool on = value == "1" || value == "Y";
    return Judge("nested virtualisation", on ? "on" : "off", !on,
                 fmt::format("modprobe {} nested=0", module));
  }
  return Judge("nested virtualisation", "off", true, "");
}

HostCheck CheckVulnerabilities(const std::string& root) {
  std::string open;
  std::error_code error;
  const std::string directory = root + "/sys/devices/system/cpu/vulnerabilities";
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (!ReadLine(entry.path()).starts_with("Vulnerable")) continue;
    open += (open.empty() ? "" : " ") + entry.path().filename().string();
  }
  return Judge("CPU vulnerabilities", open.empty() ? "mitigated" : open, open.empty(),
               "update kernel and microcode, and do not boot with mitigations=off");
}

HostCheck CheckCoreDumps(const std::string& root) {
  const std::string pattern = ReadLine(root + "/proc/sys/kernel/core_pattern");
  return Judge("core dumps", pattern, !pattern.starts_with('|'),
               "a collector must not keep those of mayfly: they hold guests' memory");
}

}  // namespace

HostReport InspectProduction(const std::string& root) {
  HostReport report;
  for (const auto check : {&CheckSmt, &CheckKsm, &CheckSwap, &CheckHugePages, &CheckCgroups,
                           &CheckNesting, &CheckVulnerabilities, &CheckCoreDumps}) {
    report.checks.push_back(check(root));
  }
  return report;
}

}  // namespace mayfly
