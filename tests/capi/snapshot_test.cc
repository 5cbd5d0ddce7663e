#include <array>
#include <filesystem>
#include <fstream>

#include "tests/capi/api_fixture.h"
#include "vmm/function/builder.h"

namespace mayfly {
namespace {

class ApiSnapshotTest : public ApiFixture {
 protected:
  // An image whose handler takes no events before its snapshot.
  static std::string AwaitingImagePath() {
    const std::string directory = PathFor("awaiting");
    std::filesystem::create_directory(directory);
    std::filesystem::copy(MAYFLY_BUILD_DIR "/examples/echo-c/handler.so", directory);
    std::ofstream(directory + "/mayfly.json")
        << R"({"name":"awaiting","kind":"native","handler":"handler.so","environment":{"AWAIT":"1"}})";
    const auto interrupts = Interrupts::Create();
    const auto built = BuildFunctionImage(directory, directory + ".mfn", *interrupts);
    EXPECT_TRUE(built) << built.error().message();
    return directory + ".mfn";
  }
  // What the clone was given, as it says; it takes no event after that.
  static std::string EntropyOf(mayfly_function* clone) {
    const std::string identity = Invoke(clone, "identity");
    EXPECT_EQ(identity.size(), 80U) << identity;
    return identity.substr(std::min<size_t>(16, identity.size()));
  }
};

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

TEST_F(ApiSnapshotTest, FunctionIsWarmedBeforeItsSnapshot) {
  const std::string path = PathFor("warmed");
  mayfly_boot_options options = BootOptions();
  options.snapshot = 1;
  mayfly_function* const function = Boot(options);
  EXPECT_EQ(Invoke(function, "one"), "one");
  EXPECT_EQ(Invoke(function, "two"), "two");
  ASSERT_EQ(mayfly_function_snapshot(function, path.c_str()), MAYFLY_OK) << ErrorOf(function);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  ExpectCloneEchoes(path, "three");
}

// An event that the handler refuses would be the end of the function.
TEST_F(ApiSnapshotTest, HandlerThatAwaitsItsRestoreIsNotWarmed) {
  const std::string path = PathFor("awaited");
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, AwaitingImagePath().c_str(), &image), MAYFLY_OK);
  mayfly_boot_options options = BootOptions();
  options.snapshot = 1;
  mayfly_function* function = nullptr;
  ASSERT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_OK) << ErrorOf(image);
  EXPECT_EQ(mayfly_invoke(function, "", 0, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_NE(ErrorOf(function).find("only after its snapshot"), std::string::npos);
  ASSERT_EQ(mayfly_function_snapshot(function, path.c_str()), MAYFLY_OK) << ErrorOf(function);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
  ExpectCloneEchoes(path, "hello");
}

TEST_F(ApiSnapshotTest, IdentityOfACloneIsOverridden) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  const std::string entropy = "entropy=" + std::string(126, '0') + "fE";
  const std::array<const char*, 2> overrides = {"generation=00112233-4455-6677-8899-aabbccddeeff",
                                                entropy.c_str()};
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.overrides = overrides.data();
  options.override_count = overrides.size();
  mayfly_function* clone = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, &options, &clone), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(EntropyOf(clone), std::string(63, '\0') + '\xfe');
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiSnapshotTest, IdentityOfACloneInAShellIsOverriddenAndAWrongOneTakesNoShell) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_pool_options shells = MAYFLY_POOL_OPTIONS_INIT;
  shells.count = 1;
  mayfly_pool* pool = nullptr;
  ASSERT_EQ(mayfly_pool_create(snapshot, &shells, &pool), MAYFLY_OK) << ErrorOf(snapshot);
  const char* text = "entropy=00";
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.pool = pool;
  options.overrides = &text;
  options.override_count = 1;
  mayfly_function* clone = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &clone), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_pool_available(pool), 1);
  const std::string entropy = "entropy=" + std::string(128, '7');
  text = entropy.c_str();
  ASSERT_EQ(mayfly_restore(snapshot, &options, &clone), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(mayfly_pool_available(pool), 0);
  EXPECT_EQ(EntropyOf(clone), std::string(64, '\x77'));
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  EXPECT_EQ(mayfly_pool_close(pool), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiSnapshotTest, OverridesOfWhatAFunctionDoesNotHaveAreRefused) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  const char* text = "vsock.cid=5";
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.overrides = &text;
  options.override_count = 1;
  mayfly_function* clone = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &clone), MAYFLY_E_INVALID);
  EXPECT_NE(ErrorOf(snapshot).find("vsock.cid: not for a function"), std::string::npos);
  text = "net0.mac=02:00:00:00:00:01";
  EXPECT_EQ(mayfly_restore(snapshot, &options, &clone), MAYFLY_E_INVALID);
  EXPECT_NE(ErrorOf(snapshot).find("net0.mac: the snapshot has 0 network devices"),
            std::string::npos);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
