#include "vmm/cli/cmd_doctor.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

HostCheck Find(const HostReport& report, const std::string& name) {
  const auto found = std::ranges::find(report.checks, name, &HostCheck::name);
  EXPECT_NE(found, report.checks.end()) << name;
  return found == report.checks.end() ? HostCheck{} : *found;
}

TEST(DoctorTest, HostWithoutKvmCannotRun) {
  const Scratch scratch;
  HostReport report;
  InspectKvm(scratch.path(), report);
  EXPECT_FALSE(report.CanRun());
  EXPECT_FALSE(report.linux_guests);
  EXPECT_EQ(Find(report, "kvm device").status, CheckStatus::kMissing);
  EXPECT_TRUE(Mentions(Find(report, "kvm device").found, "/dev/kvm: No such file"));
  EXPECT_FALSE(Find(report, "kvm device").advice.empty());
}

TEST(DoctorTest, OtherDeviceIsNotKvm) {
  const Scratch scratch;
  scratch.Write("dev/kvm", "a file");
  HostReport report;
  InspectKvm(scratch.path(), report);
  EXPECT_FALSE(report.CanRun());
  EXPECT_EQ(Find(report, "kvm api").found, "not a KVM device");
}

TEST(DoctorTest, CgroupControllersOfBothVersionsAreFound) {
  const Scratch scratch;
  scratch.Write("proc/mounts",
                "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n"
                "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n");
  scratch.Write("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb memory\n");
  HostReport report;
  InspectKernel(scratch.path(), report);
  EXPECT_EQ(Find(report, "cgroup cpu").found, "version 1");
  EXPECT_EQ(Find(report, "cgroup memory").found, "version 2");
  EXPECT_EQ(Find(report, "cgroup pids").status, CheckStatus::kMissing);
}

TEST(DoctorTest, BareHostIsReportedWithoutFailing) {
  const Scratch scratch;
  HostReport report;
  InspectKernel(scratch.path(), report);
  EXPECT_EQ(Find(report, "tap").status, CheckStatus::kMissing);
  EXPECT_EQ(Find(report, "namespaces").found, "no cgroup, ipc, mnt, net, pid, user, uts");
  EXPECT_EQ(Find(report, "hugepages").status, CheckStatus::kWarning);
  EXPECT_EQ(Find(report, "memory").status, CheckStatus::kWarning);
  EXPECT_TRUE(report.CanRun()) << "none of these is required";
}

TEST(DoctorTest, HugePagesAreCounted) {
  const Scratch scratch;
  scratch.Write("proc/meminfo",
                "MemAvailable:    2097152 kB\nHugePages_Total:      8\nHugePages_Free:       3\n");
  HostReport report;
  InspectKernel(scratch.path(), report);
  EXPECT_EQ(Find(report, "hugepages").found, "8 reserved, 3 free");
  EXPECT_EQ(Find(report, "hugepages").status, CheckStatus::kOk);
  EXPECT_EQ(Find(report, "memory").found, "2048 MiB available");
}

TEST(DoctorTest, MissingToolsNameThePackageAndTheScripts) {
  const Scratch scratch;
  const ScopedVariable path("PATH", scratch.path());
  const ScopedVariable cache("MAYFLY_CACHE", scratch.path());
  const ScopedVariable kernel("MAYFLY_KERNEL", std::nullopt);
  HostReport report;
  InspectTools(report);
  EXPECT_TRUE(Mentions(Find(report, "mkfs.erofs").advice, "erofs-utils"));
  EXPECT_TRUE(Mentions(Find(report, "guest kernel").advice, "scripts/build-guest-kernel"));
}

TEST(DoctorTest, LinesHaveStatusNameAndAdvice) {
  const HostReport report{.checks = {{.name = "tap",
                                      .status = CheckStatus::kMissing,
                                      .found = "no",
                                      .advice = "modprobe tun"}},
                          .linux_guests = true};
  EXPECT_EQ(FormatHostReport(report, false),
            "missing  tap                        no (modprobe tun)\nMachines can run here.\n");
}

TEST(DoctorTest, JsonIsWellFormed) {
  const HostReport report{.checks = {{.name = "kvm device",
                                      .status = CheckStatus::kMissing,
                                      .found = "\"quoted\"",
                                      .required = true}},
                          .linux_guests = false};
  EXPECT_EQ(FormatHostReport(report, true),
            "{\"can_run\":false,\"linux_guests\":false,\"checks\":[{\"name\":\"kvm device\","
            "\"status\":\"missing\",\"found\":\"\\\"quoted\\\"\",\"advice\":\"\"}]}\n");
}

TEST(DoctorTest, ThisHostIsInspected) {
  const HostReport report = InspectHost("");
  EXPECT_GT(report.checks.size(), 8u);
  EXPECT_TRUE(JsonDocument::Parse(FormatHostReport(report, true), "report", ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace mayfly
