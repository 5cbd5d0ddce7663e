#include "jailer/jail_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <random>
#include <thread>

#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

class JailRecordTest : public testing::Test {
 protected:
  [[nodiscard]] std::string PathFor(const std::string& name) const {
    return records_.path() + "/" + name;
  }
  static JailId Id(const std::string& name) { return JailId::Parse(name).value(); }

  RecordDirectory records_;
};

TEST_F(JailRecordTest, TwoJailsCannotHaveOneName) {
  const auto first = JailRecord::Create(records_.path(), Id("a"));
  ASSERT_TRUE(first) << first.error().message();
  const auto second = JailRecord::Create(records_.path(), Id("a"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(JailRecordTest, GoesWithItsOwner) {
  {
    const auto record = JailRecord::Create(records_.path(), Id("a"));
  }
  EXPECT_TRUE(fs::is_empty(records_.path()));
}

TEST_F(JailRecordTest, TheCollectorLeavesTheLivingAlone) {
  const auto record = JailRecord::Create(records_.path(), Id("a"));
  const CollectedJails collected = CollectJails(records_.path()).value();
  EXPECT_EQ(collected.alive, 1U);
  EXPECT_EQ(collected.removed, 0U);
  EXPECT_TRUE(fs::exists(PathFor("a/lock")));
}

TEST_F(JailRecordTest, TheCollectorRemovesARecordThatWasNeverFinished) {
  fs::create_directory(PathFor("a"));
  EXPECT_EQ(CollectJails(records_.path()).value().removed, 1U);
  EXPECT_TRUE(fs::is_empty(records_.path()));
}

TEST_F(JailRecordTest, TheCollectorTouchesNothingElse) {
  fs::create_directory(PathFor("not.ours"));
  std::ofstream(PathFor("file")) << "x";
  fs::create_symlink("/etc", PathFor("link"));
  const CollectedJails collected = CollectJails(records_.path()).value();
  EXPECT_EQ(collected.removed, 0U);
  EXPECT_TRUE(fs::exists(PathFor("not.ours")));
  EXPECT_TRUE(fs::exists(PathFor("file")));
  EXPECT_TRUE(fs::is_symlink(PathFor("link")));
}

TEST_F(JailRecordTest, ARecordThatNamesAnotherGroupRemovesNothing) {
  fs::create_directory(PathFor("a"));
  std::ofstream(PathFor("a/cgroups")) << "/sys/fs/cgroup/pids\tmayfly/b\n";
  const CollectedJails collected = CollectJails(records_.path()).value();
  EXPECT_EQ(collected.removed, 0U);
  EXPECT_EQ(collected.failures.size(), 1U);
}

TEST_F(JailRecordTest, ARecordWithASecondNameIsNotRead) {
  fs::create_directory(PathFor("a"));
  std::ofstream(PathFor("elsewhere")) << "/sys/fs/cgroup/pids\tmayfly/a\n";
  fs::create_hard_link(PathFor("elsewhere"), PathFor("a/cgroups"));
  EXPECT_EQ(CollectJails(records_.path()).value().failures.size(), 1U);
}

TEST_F(JailRecordTest, ADirectoryThatOthersCanWriteToIsRefused) {
  fs::permissions(records_.path(), fs::perms::all);
  EXPECT_FALSE(JailRecord::Create(records_.path(), Id("a")));
  EXPECT_FALSE(CollectJails(records_.path()));
}

TEST_F(JailRecordTest, ADirectoryBehindALinkIsRefused) {
  fs::create_directory(PathFor("real"));
  fs::create_directory_symlink(PathFor("real"), PathFor("link"));
  EXPECT_FALSE(JailRecord::Create(PathFor("link"), Id("a")));
  EXPECT_TRUE(fs::is_empty(PathFor("real")));
}

}  // namespace
}  // namespace mayfly
