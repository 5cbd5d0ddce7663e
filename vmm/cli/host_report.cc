#include "vmm/cli/host_report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <sstream>

#include "base/file.h"
#include "vmm/function/kernel_bundle.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostProcBytes = uint64_t{1024} * 1024;

std::string ReadText(const std::string& path) {
  const auto bytes = ReadFile(path, kMostProcBytes);
  return bytes ? std::string(AsText(*bytes)) : std::string();
}

bool CanOpen(const std::string& path) { return OpenFile(path, O_RDWR).has_value(); }

// The number behind `key` in /proc/meminfo.
uint64_t MemoryNumber(const std::string& meminfo, const std::string& key) {
  std::istringstream lines(meminfo);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key + ":")) continue;
    uint64_t number = 0;
    std::istringstream(line.substr(key.size() + 1)) >> number;
    return number;
  }
  return 0;
}

HostCheck CheckUserfaultfd(const std::string& root) {
  HostCheck check{.name = "userfaultfd"};
  const UniqueFd all(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));
  const UniqueFd user_only(
      static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  const bool device = CanOpen(root + "/dev/userfaultfd");
  if (all.valid() || device) {
    check.found = fmt::format("{}{}{}", all.valid() ? "system call" : "",
                              all.valid() && device ? ", " : "", device ? "/dev/userfaultfd" : "");
  } else if (user_only.valid()) {
    check.status = CheckStatus::kWarning;
    check.found = "for user mode's faults only";
    check.advice =
        "for lazy restores: access to /dev/userfaultfd, or vm.unprivileged_userfaultfd=1";
  } else {
    check.status = CheckStatus::kMissing;
    check.found = "no";
    check.advice = "for lazy restores: a kernel with CONFIG_USERFAULTFD";
  }
  return check;
}

// Controllers by the cgroup version that offers them, from /proc/mounts.
std::map<std::string, int> FindControllers(const std::string& root) {
  std::map<std::string, int> controllers;
  std::istringstream mounts(ReadText(root + "/proc/mounts"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string source, target, type, options;
    fields >> source >> target >> type >> options;
    const int version = type == "cgroup" ? 1 : 2;
    if (type != "cgroup" && type != "cgroup2") continue;
    std::string names = version == 1 ? options : ReadText(root + target + "/cgroup.controllers");
    std::ranges::replace(names, ',', ' ');
    std::istringstream words(names);
    for (std::string word; words >> word;) controllers.emplace(word, version);
  }
  return controllers;
}

void CheckCgroups(const std::string& root, HostReport& report) {
  const std::map<std::string, int> controllers = FindControllers(root);
  for (const std::string name : {"cpu", "memory", "pids"}) {
    HostCheck check{.name = fmt::format("cgroup {}", name)};
    const auto found = controllers.find(name);
    if (found == controllers.end()) {
      check.status = CheckStatus::kMissing;
      check.found = "no";
      check.advice = "for limits on a machine: mount a cgroup hierarchy with this controller";
    } else {
      check.found = fmt::format("version {}", found->second);
    }
    report.checks.push_back(std::move(check));
  }
}

HostCheck CheckNamespaces(const std::string& root) {
  HostCheck check{.name = "namespaces"};
  std::vector<std::string> missing;
  for (const std::string name : {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}) {
    const bool there = ::access(fmt::format("{}/proc/self/ns/{}", root, name).c_str(), F_OK) == 0;
    if (!there) missing.push_back(name);
  }
  check.found = "cgroup ipc mnt net pid user uts";
  if (!missing.empty()) {
    check.status = CheckStatus::kMissing;
    check.found = fmt::format("no {}", fmt::join(missing, ", "));
    check.advice = "for jails: a host kernel with these namespaces";
  }
  return check;
}

HostCheck CheckTap(const std::string& root) {
  HostCheck check{.name = "tap", .found = "/dev/net/tun"};
  const auto tun = OpenFile(root + "/dev/net/tun", O_RDWR);
  if (!tun) {
    check.status = CheckStatus::kMissing;
    check.found = tun.error().message();
    check.advice = "for guest networks: modprobe tun, and access to the device";
  }
  return check;
}

HostCheck CheckHugePages(const std::string& meminfo) {
  HostCheck check{.name = "hugepages"};
  const uint64_t total = MemoryNumber(meminfo, "HugePages_Total");
  check.found = fmt::format("{} reserved, {} free", total, MemoryNumber(meminfo, "HugePages_Free"));
  if (total == 0) {
    check.status = CheckStatus::kWarning;
    check.advice = "only if guests are to use them: sysctl vm.nr_hugepages=N";
  }
  return check;
}

HostCheck CheckMemory(const std::string& meminfo) {
  const uint64_t available_mib = MemoryNumber(meminfo, "MemAvailable") / 1024;
  HostCheck check{.name = "memory", .found = fmt::format("{} MiB available", available_mib)};
  if (available_mib < 256) {
    check.status = CheckStatus::kWarning;
    check.advice = "a guest of the default size needs 128 MiB";
  }
  return check;
}

HostCheck CheckMkfs() {
  HostCheck check{.name = "mkfs.erofs"};
  const char* path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    check.found = directory + "/mkfs.erofs";
    if (::access(check.found.c_str(), X_OK) == 0) return check;
  }
  check.status = CheckStatus::kMissing;
  check.found = "not found";
  check.advice = "for mayfly build: install the package erofs-utils";
  return check;
}

HostCheck CheckGuestKernel() {
  HostCheck check{.name = "guest kernel"};
  auto path = FindDefaultKernel();
  const auto bundle =
      path ? ResolveKernel(*path) : Result<KernelBundle>(std::unexpected(path.error()));
  if (bundle) {
    check.found = bundle->kernel;
    return check;
  }
  check.status = CheckStatus::kMissing;
  check.found = "none in " + KernelCacheDirectory();
  check.advice = "for mayfly run: scripts/fetch-guest-kernel or scripts/build-guest-kernel";
  return check;
}

}  // namespace

std::string_view NameOf(CheckStatus status) {
  switch (status) {
    case CheckStatus::kOk:
      return "ok";
    case CheckStatus::kWarning:
      return "warning";
    case CheckStatus::kMissing:
      return "missing";
  }
  return "";
}

bool HostReport::CanRun() const {
  return std::ranges::none_of(checks, [](const HostCheck& check) {
    return check.required && check.status == CheckStatus::kMissing;
  });
}

void InspectKernel(const std::string& root, HostReport& report) {
  const std::string meminfo = ReadText(root + "/proc/meminfo");
  report.checks.push_back(CheckMemory(meminfo));
  report.checks.push_back(CheckUserfaultfd(root));
  CheckCgroups(root, report);
  report.checks.push_back(CheckNamespaces(root));
  report.checks.push_back(CheckTap(root));
  report.checks.push_back(CheckHugePages(meminfo));
}

void InspectTools(HostReport& report) {
  report.checks.push_back(CheckMkfs());
  report.checks.push_back(CheckGuestKernel());
}

HostReport InspectHost(const std::string& root) {
  HostReport report;
  InspectKvm(root, report);
  InspectKernel(root, report);
  InspectTools(report);
  return report;
}

}  // namespace mayfly
