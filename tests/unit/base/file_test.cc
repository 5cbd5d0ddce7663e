#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string name = ::testing::TempDir() + "mayfly-file-XXXXXX";
    const UniqueFd fd(::mkstemp(name.data()));
    path_ = name;
    EXPECT_TRUE(WriteAll(fd.get(), AsBytes("hello"), path_));
  }
  ~FileTest() override { ::unlink(path_.c_str()); }

  std::string path_;
};

TEST_F(FileTest, OpenIsCloseOnExec) {
  const UniqueFd fd = *OpenFile(path_, O_RDONLY);
  EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(FileTest, OpenNamesThePathInItsError) {
  const auto fd = OpenFile("/nonexistent/file", O_RDONLY);
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().message(), "open /nonexistent/file: No such file or directory");
  EXPECT_EQ(fd.error().code(), ErrorCode::kNotFound);
}

TEST_F(FileTest, SizeOfARegularFile) {
  const UniqueFd fd = *OpenFile(path_, O_RDONLY);
  EXPECT_EQ(FileSize(fd.get(), path_), 5);
}

TEST_F(FileTest, SizeOfOtherKindsIsRefused) {
  const UniqueFd directory = *OpenFile("/", O_RDONLY);
  const UniqueFd character = *OpenFile("/dev/null", O_RDONLY);
  EXPECT_EQ(FileSize(directory.get(), "/").error().message(),
            "/: neither a regular file nor a block device");
  EXPECT_FALSE(FileSize(character.get(), "/dev/null"));
  EXPECT_FALSE(FileSize(-1, "nothing"));
}

TEST_F(FileTest, ReadFileReturnsAllBytes) { EXPECT_EQ(AsText(*ReadFile(path_, 5)), "hello"); }

TEST_F(FileTest, ReadFileStopsAtItsLimit) {
  const auto bytes = ReadFile(path_, 4);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(ReadFile("/dev/zero", 100'000).error().code(), ErrorCode::kTooLarge);
}

TEST_F(FileTest, ReadFileDoesNotTrustTheSize) {
  EXPECT_FALSE(ReadFile("/proc/self/status", 1 << 20)->empty());
}

TEST_F(FileTest, ReadExactAtTakesTheOffset) {
  const UniqueFd fd = *OpenFile(path_, O_RDONLY);
  Bytes bytes(3);
  ASSERT_TRUE(ReadExactAt(fd.get(), bytes, 2, path_));
  EXPECT_EQ(AsText(bytes), "llo");
}

TEST_F(FileTest, ReadExactAtRefusesAShorterFile) {
  const UniqueFd fd = *OpenFile(path_, O_RDONLY);
  Bytes bytes(4);
  const auto read = ReadExactAt(fd.get(), bytes, 2, "disk");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kCorrupt);
  EXPECT_EQ(read.error().message(), "disk: ends after 5 bytes, more are needed");
}

TEST_F(FileTest, WriteAllReportsAFullDevice) {
  const UniqueFd fd = *OpenFile("/dev/full", O_WRONLY);
  const auto written = WriteAll(fd.get(), AsBytes("x"), "/dev/full");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errno_value(), ENOSPC);
}

}  // namespace
}  // namespace mayfly
