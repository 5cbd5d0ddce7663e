#include "vmm/cli/production_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// A host of files.
class ProductionReportTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/host.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  void Put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text << "\n";
  }
  [[nodiscard]] HostCheck Check(const std::string& name) const {
    const HostReport report = InspectProduction(root_);
    const auto found = std::ranges::find(report.checks, name, &HostCheck::name);
    return found == report.checks.end() ? HostCheck{} : *found;
  }
  [[nodiscard]] CheckStatus StatusOf(const std::string& name) const { return Check(name).status; }

  std::string root_;
};

TEST_F(ProductionReportTest, SiblingThreadsAreWarnedOf) {
  EXPECT_EQ(StatusOf("SMT"), CheckStatus::kOk);
  Put("/sys/devices/system/cpu/smt/active", "1");
  EXPECT_EQ(StatusOf("SMT"), CheckStatus::kWarning);
  EXPECT_NE(Check("SMT").advice, "");
}

TEST_F(ProductionReportTest, MergedPagesAreWarnedOf) {
  Put("/sys/kernel/mm/ksm/run", "0");
  EXPECT_EQ(StatusOf("KSM"), CheckStatus::kOk);
  Put("/sys/kernel/mm/ksm/run", "1");
  EXPECT_EQ(StatusOf("KSM"), CheckStatus::kWarning);
}

TEST_F(ProductionReportTest, SwapIsWarnedOf) {
  Put("/proc/swaps", "Filename Type Size");
  EXPECT_EQ(StatusOf("swap"), CheckStatus::kOk);
  Put("/proc/swaps", "Filename Type Size\n/dev/vdb partition 4096");
  EXPECT_EQ(StatusOf("swap"), CheckStatus::kWarning);
}

TEST_F(ProductionReportTest, HugePagesAreSplitOnlyWhereTheProcessorNeedsIt) {
  Put("/sys/module/kvm/parameters/nx_huge_pages", "Y");
  Put("/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "Not affected");
  EXPECT_EQ(StatusOf("nx_huge_pages"), CheckStatus::kWarning);
  Put("/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "KVM: Mitigation: Split huge pages");
  EXPECT_EQ(StatusOf("nx_huge_pages"), CheckStatus::kOk);
}

TEST_F(ProductionReportTest, ControlGroupsOfVersion1AreWarnedOf) {
  Put("/proc/mounts", "cgroup /cg cgroup rw,memory 0 0");
  EXPECT_EQ(StatusOf("cgroup"), CheckStatus::kWarning);
  Put("/proc/mounts", "cgroup2 /cg cgroup2 rw,favordynmods 0 0");
  Put("/cg/cgroup.controllers", "cpu io memory pids");
  EXPECT_EQ(StatusOf("cgroup"), CheckStatus::kOk);
}

TEST_F(ProductionReportTest, NestedVirtualisationIsWarnedOf) {
  Put("/sys/module/kvm_intel/parameters/nested", "Y");
  EXPECT_EQ(StatusOf("nested virtualisation"), CheckStatus::kWarning);
}

TEST_F(ProductionReportTest, AnOpenVulnerabilityIsNamed) {
  Put("/sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI");
  EXPECT_EQ(StatusOf("CPU vulnerabilities"), CheckStatus::kOk);
  Put("/sys/devices/system/cpu/vulnerabilities/retbleed", "Vulnerable");
  EXPECT_EQ(Check("CPU vulnerabilities").found, "retbleed");
}

TEST_F(ProductionReportTest, CoreDumpsThatGoToAProgramAreWarnedOf) {
  Put("/proc/sys/kernel/core_pattern", "core");
  EXPECT_EQ(StatusOf("core dumps"), CheckStatus::kOk);
  Put("/proc/sys/kernel/core_pattern", "|/usr/lib/systemd/systemd-coredump");
  EXPECT_EQ(StatusOf("core dumps"), CheckStatus::kWarning);
}

}  // namespace
}  // namespace mayfly
