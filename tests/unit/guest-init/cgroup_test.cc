#include "guest-init/cgroup.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

// A directory that looks like the cgroup v2 hierarchy, though nothing is behind
// it.
class HandlerCgroupTest : public testing::Test {
 protected:
  HandlerCgroupTest() {
    std::string path = testing::TempDir() + "cgroup-XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    hierarchy_ = path;
    std::filesystem::create_directory(hierarchy_ + "/handler");
    for (const char* name : {"cgroup.kill", "pids.max", "memory.max", "memory.swap.max",
                             "memory.oom.group", "cpu.weight", "cgroup.freeze"}) {
      AddFile(name, "");
    }
    std::ofstream(hierarchy_ + "/cgroup.subtree_control").flush();
  }
  ~HandlerCgroupTest() override { std::filesystem::remove_all(hierarchy_); }

  void AddFile(const std::string& name, const std::string& text) const {
    std::ofstream(hierarchy_ + "/handler/" + name) << text;
  }
  [[nodiscard]] std::string Read(const std::string& name) const {
    return ReadText(hierarchy_ + "/handler/" + name).value_or("");
  }

  std::string hierarchy_;
};

TEST_F(HandlerCgroupTest, LimitsAreWritten) {
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->missing(), "");
  EXPECT_EQ(Read("memory.max"), "1000");
  EXPECT_EQ(Read("memory.oom.group"), "1");
  EXPECT_EQ(Read("pids.max"), "1024");
}

TEST_F(HandlerCgroupTest, KillIsTheGroupsOwn) {
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  group->Kill();
  EXPECT_EQ(Read("cgroup.kill"), "1");
}

TEST_F(HandlerCgroupTest, FreezesAndThaws) {
  auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  AddFile("cgroup.events", "populated 1\nfrozen 1\n");
  EXPECT_TRUE(group->Freeze(std::chrono::seconds(5)));
  EXPECT_EQ(Read("cgroup.freeze"), "1");
  EXPECT_TRUE(group->Thaw());
  EXPECT_EQ(Read("cgroup.freeze"), "0");
}

TEST_F(HandlerCgroupTest, ProcessesThatDoNotFreezeAreAnError) {
  auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  AddFile("cgroup.events", "populated 1\nfrozen 0\n");
  const auto frozen = group->Freeze(std::chrono::milliseconds(1));
  ASSERT_FALSE(frozen);
  EXPECT_EQ(frozen.error().code(), ErrorCode::kTimeout);
}

TEST_F(HandlerCgroupTest, OomKillsAreFoundAmongTheEvents) {
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->OomKills(), 0U);
  AddFile("memory.events", "low 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 1\n");
  EXPECT_EQ(group->OomKills(), 3U);
}

TEST_F(HandlerCgroupTest, PeakIsReadAnew) {
  AddFile("memory.current", "50\n");
  AddFile("memory.peak", "70\n");
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->PeakMemory(), 70U);
  AddFile("memory.peak", "80\n");
  EXPECT_EQ(group->PeakMemory(), 80U);
}

TEST_F(HandlerCgroupTest, PeakFallsBackToCurrent) {
  AddFile("memory.current", "50\n");
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->PeakMemory(), 50U);
}

TEST_F(HandlerCgroupTest, PeakIsUnknownWithoutTheController) {
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->PeakMemory(), 0U);
}

TEST_F(HandlerCgroupTest, MissingControllersAreNamed) {
  std::filesystem::remove(hierarchy_ + "/cgroup.subtree_control");
  const auto group = HandlerCgroup::Create(hierarchy_, 1000);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->missing(), " memory pids cpu");
}

}  // namespace
}  // namespace mayfly::init
