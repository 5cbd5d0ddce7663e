#include <thread>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

class ApiLibraryTest : public ApiFixture {};

TEST_F(ApiLibraryTest, TellsItsVersionAndItsFeatures) {
  EXPECT_EQ(mayfly_api_version(), MAYFLY_API_VERSION);
  EXPECT_NE(std::string(mayfly_version()).find('.'), std::string::npos);
  EXPECT_EQ(mayfly_feature("snapshot"), 1);
  EXPECT_EQ(mayfly_feature("time travel"), 0);
  EXPECT_EQ(mayfly_feature(nullptr), 0);
}

TEST_F(ApiLibraryTest, HostThatRunsTheTestsRunsMachines) {
  EXPECT_EQ(mayfly_check_host(lib_), MAYFLY_OK) << ErrorOf(lib_);
}

TEST_F(ApiLibraryTest, EveryCodeHasItsWords) {
  EXPECT_STREQ(mayfly_strerror(MAYFLY_OK), "no error");
  EXPECT_STREQ(mayfly_strerror(MAYFLY_E_BUSY), "busy");
  EXPECT_STREQ(mayfly_strerror(-9999), "unknown error");
}

TEST_F(ApiLibraryTest, TextIsCutToTheBufferAndItsLengthTold) {
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, "/nowhere.mfn", &image), MAYFLY_E_NOT_FOUND);
  char text[5] = "....";
  EXPECT_GT(mayfly_error(lib_, text, sizeof(text)), 5);
  EXPECT_EQ(std::string(text).size(), 4U);
}

TEST_F(ApiLibraryTest, TextIsTheCallingThreadsOwn) {
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, "/nowhere.mfn", &image), MAYFLY_E_NOT_FOUND);
  std::thread other([&] { EXPECT_EQ(ErrorOf(lib_), ""); });
  other.join();
  EXPECT_NE(ErrorOf(lib_), "");
}

TEST_F(ApiLibraryTest, ComparedSnapshotsAreRemembered) {
  const std::string directory = PathFor("verified");
  mayfly_options options = MAYFLY_OPTIONS_INIT;
  options.verified_directory = directory.c_str();
  mayfly_instance* lib = nullptr;
  ASSERT_EQ(mayfly_open(&options, &lib), MAYFLY_OK);
  mayfly_snapshot* snapshot = nullptr;
  ASSERT_EQ(mayfly_snapshot_open(lib, SnapshotPath().c_str(), nullptr, &snapshot), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  ASSERT_EQ(mayfly_snapshot_open(lib, SnapshotPath().c_str(), nullptr, &snapshot), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  EXPECT_EQ(mayfly_close(lib), MAYFLY_OK);
}

TEST_F(ApiLibraryTest, LogLevelIsChecked) {
  mayfly_options options = MAYFLY_OPTIONS_INIT;
  options.log_level = 17;
  mayfly_instance* lib = nullptr;
  EXPECT_EQ(mayfly_open(&options, &lib), MAYFLY_E_INVALID);
}

}  // namespace
}  // namespace mayfly
