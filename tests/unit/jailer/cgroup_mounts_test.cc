#include "jailer/cgroup_mounts.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace mayfly {
namespace {

constexpr char kVersion1[] =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /cg/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /cg/memory rw,relatime shared:5 - cgroup cgroup rw,memory\n"
    "34 31 0:31 / /cg/blkio rw,relatime - cgroup cgroup rw,blkio\n"
    "35 31 0:32 / /cg/systemd rw,relatime - cgroup cgroup rw,name=systemd\n";
constexpr char kGroups1[] =
    "4:memory:/box/1\n3:cpu,cpuacct:/\n2:blkio:/\n1:name=systemd:/user\n0::/\n";

// A hierarchy of version 2 that lists its controllers in a file.
class UnifiedTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/cgroup.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    mount_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(mount_); }

  void Offer(const std::string& controllers) const {
    std::ofstream(mount_ + "/cgroup.controllers") << controllers << "\n";
  }
  [[nodiscard]] std::string Line() const {
    return "41 31 0:38 / " + mount_ + " rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
  }

  std::string mount_;
};

TEST(CgroupMountsTest, FindsTheControllersOfVersion1) {
  const auto mounts = CgroupMounts::Parse(kVersion1, kGroups1);
  ASSERT_NE(mounts.Find("memory"), nullptr);
  EXPECT_EQ(mounts.Find("memory")->mount, "/cg/memory");
  EXPECT_FALSE(mounts.Find("memory")->unified);
  EXPECT_EQ(mounts.Find("cpu")->mount, "/cg/cpu");
  EXPECT_EQ(mounts.Find("io")->mount, "/cg/blkio");
  EXPECT_EQ(mounts.Find("pids"), nullptr);
}

TEST(CgroupMountsTest, InVersion1AMachinesGroupIsBelowTheCallers) {
  const auto mounts = CgroupMounts::Parse(kVersion1, kGroups1);
  EXPECT_EQ(mounts.Find("memory")->Parent(), "/box/1");
  EXPECT_EQ(mounts.Find("cpu")->Parent(), "");
}

TEST_F(UnifiedTest, FindsTheControllersOfVersion2) {
  Offer("cpu io memory pids");
  const auto mounts = CgroupMounts::Parse(Line(), "0::/machines.slice/supervisor\n");
  ASSERT_NE(mounts.Find("pids"), nullptr);
  EXPECT_TRUE(mounts.Find("pids")->unified);
  EXPECT_EQ(mounts.Find("io")->mount, mount_);
}

TEST_F(UnifiedTest, InVersion2AMachinesGroupIsBesideTheCallers) {
  Offer("memory");
  const auto mounts = CgroupMounts::Parse(Line(), "0::/machines.slice/supervisor\n");
  EXPECT_EQ(mounts.Find("memory")->Parent(), "/machines.slice");
  EXPECT_EQ(CgroupMounts::Parse(Line(), "0::/\n").Find("memory")->Parent(), "");
}

TEST_F(UnifiedTest, AHybridHostHasEachControllerInOneOfThem) {
  Offer("hugetlb pids");
  const auto mounts = CgroupMounts::Parse(kVersion1 + Line(), kGroups1);
  EXPECT_EQ(mounts.Find("memory")->mount, "/cg/memory");
  EXPECT_EQ(mounts.Find("pids")->mount, mount_);
}

TEST(CgroupMountsTest, NonsenseHasNoHierarchies) {
  EXPECT_TRUE(CgroupMounts::Parse("", "").all().empty());
  EXPECT_TRUE(CgroupMounts::Parse("- - -\n\n1 2 3 cgroup\n", ":\n::\n").all().empty());
}

// However it finds them: the list of mounts is the longer way.
TEST(CgroupMountsTest, ThisHostsAreThoseOfItsListOfMounts) {
  const auto read = [](const char* path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const CgroupMounts listed =
      CgroupMounts::Parse(read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
  const auto found = CgroupMounts::OfThisProcess();
  ASSERT_TRUE(found) << found.error().message();
  for (const char* controller : {"memory", "cpu", "pids", "io"}) {
    const CgroupHierarchy* const one = listed.Find(controller);
    const CgroupHierarchy* const other = found->Find(controller);
    ASSERT_EQ(one == nullptr, other == nullptr) << controller;
    if (one == nullptr) continue;
    EXPECT_EQ(one->mount, other->mount);
    EXPECT_EQ(one->own, other->own);
    EXPECT_EQ(one->unified, other->unified);
  }
}

}  // namespace
}  // namespace mayfly
