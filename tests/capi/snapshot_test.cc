#include <filesystem>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

class ApiSnapshotTest : public ApiFixture {};

TEST_F(ApiSnapshotTest, TellsWhatItIs) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_function_info info = MAYFLY_FUNCTION_INFO_INIT;
  EXPECT_EQ(mayfly_snapshot_info(snapshot, &info), MAYFLY_OK);
  EXPECT_STREQ(info.name, "echo-c");
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiSnapshotTest, ManyClonesLiveBesideEachOther) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_function* one = nullptr;
  mayfly_function* two = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, nullptr, &one), MAYFLY_OK) << ErrorOf(snapshot);
  ASSERT_EQ(mayfly_restore(snapshot, nullptr, &two), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  EXPECT_EQ(Invoke(one, "one"), "one");
  EXPECT_EQ(Invoke(two, "two"), "two");
  EXPECT_EQ(mayfly_function_close(one), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(two), MAYFLY_OK);
}

TEST_F(ApiSnapshotTest, ClonesAnswerFromPagedAndFromCopiedMemory) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.memory = MAYFLY_MEMORY_UFFD;
  mayfly_function* paged = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, &options, &paged), MAYFLY_OK) << ErrorOf(snapshot);
  options.memory = MAYFLY_MEMORY_EAGER;
  mayfly_function* copied = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, &options, &copied), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(Invoke(paged, "one"), "one");
  EXPECT_EQ(Invoke(copied, "two"), "two");
  EXPECT_EQ(mayfly_function_close(paged), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(copied), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiSnapshotTest, RecordedWorkingSetIsWrittenBesideIt) {
  const std::string copy = PathFor("recorded");
  std::filesystem::copy(SnapshotPath(), copy, std::filesystem::copy_options::recursive);
  mayfly_snapshot* snapshot = nullptr;
  ASSERT_EQ(mayfly_snapshot_open(lib_, copy.c_str(), nullptr, &snapshot), MAYFLY_OK);
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.memory = MAYFLY_MEMORY_UFFD;
  options.record = 1;
  mayfly_function* function = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, &options, &function), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_record(function, copy.c_str()), MAYFLY_OK) << ErrorOf(function);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  EXPECT_GT(std::filesystem::file_size(copy + "/working-set"), 0U);
}

TEST_F(ApiSnapshotTest, DirectoryThatIsNoSnapshotIsRefused) {
  mayfly_snapshot* snapshot = nullptr;
  EXPECT_EQ(mayfly_snapshot_open(lib_, "/nowhere", nullptr, &snapshot), MAYFLY_E_NOT_FOUND);
  EXPECT_EQ(snapshot, nullptr);
}

TEST_F(ApiSnapshotTest, SnapshotIsWrittenOnlyOnceAndOnlyWhereItWasAskedFor) {
  mayfly_function* const function = Boot(BootOptions());
  const std::string path = PathFor("not-asked-for");
  EXPECT_EQ(mayfly_function_snapshot(function, path.c_str()), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_record(function, path.c_str()), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiSnapshotTest, OptionsThatContradictEachOtherAreRefused) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_function* function = nullptr;
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.record = 1;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &function), MAYFLY_E_INVALID);
  options.record = 0;
  options.memory = 7;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &function), MAYFLY_E_INVALID);
  options.memory = MAYFLY_MEMORY_MAP;
  options.net_count = 1;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &function), MAYFLY_E_INVALID);
  const mayfly_net net = {"tap0", nullptr, nullptr, nullptr, nullptr};
  options.nets = &net;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &function), MAYFLY_E_INVALID);
  EXPECT_NE(ErrorOf(snapshot).find("the snapshot has 0"), std::string::npos);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
