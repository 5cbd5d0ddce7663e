#include "devices/virtio/blk/file_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <vector>

#include "base/file.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

// A file of four sectors, whose bytes are the number of their sector.
class FileBackendTest : public ::testing::Test {
 protected:
  FileBackendTest() {
    std::string name = ::testing::TempDir() + "mayfly-disk-XXXXXX";
    const UniqueFd fd(::mkstemp(name.data()));
    path_ = name;
    Bytes bytes(2048);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i / 512);
    EXPECT_TRUE(WriteAll(fd.get(), bytes, path_));
  }
  ~FileBackendTest() override { ::unlink(path_.c_str()); }

  Bytes Contents() { return *ReadFile(path_, 1 << 20); }

  std::string path_;
};

iovec IovecOf(Bytes& bytes) { return {bytes.data(), bytes.size()}; }

TEST_F(FileBackendTest, ReadFillsAllParts) {
  auto backend = *FileBackend::Open(path_, true);
  Bytes first(500);
  Bytes second(524);
  const std::array<iovec, 2> parts{IovecOf(first), IovecOf(second)};

  ASSERT_TRUE(backend->Read(parts, 1024));

  EXPECT_EQ(first, Bytes(500, 2));
  EXPECT_EQ(second.front(), 2);
  EXPECT_EQ(second.back(), 3);
}

TEST_F(FileBackendTest, WriteTakesAllParts) {
  auto backend = *FileBackend::Open(path_, false);
  Bytes first(12, 0x11);
  Bytes second(500, 0x22);
  const std::array<iovec, 2> parts{IovecOf(first), IovecOf(second)};

  ASSERT_TRUE(backend->Write(parts, 512));
  ASSERT_TRUE(backend->Flush());

  const Bytes contents = Contents();
  EXPECT_EQ(contents.size(), 2048);
  EXPECT_EQ(contents[511], 0);
  EXPECT_EQ(contents[512], 0x11);
  EXPECT_EQ(contents[1023], 0x22);
  EXPECT_EQ(contents[1024], 2);
}

TEST_F(FileBackendTest, MorePartsThanASystemCallTakes) {
  auto backend = *FileBackend::Open(path_, true);
  Bytes bytes(2048, 0xff);
  std::vector<iovec> parts;
  for (uint8_t& byte : bytes) parts.push_back({&byte, 1});

  ASSERT_TRUE(backend->Read(parts, 0));

  EXPECT_EQ(bytes, Contents());
}

TEST_F(FileBackendTest, KnowsItsSizeAndName) {
  const auto backend = *FileBackend::Open(path_, true, "root");
  EXPECT_EQ(backend->size(), 2048);
  EXPECT_EQ(backend->id(), "root");
  EXPECT_TRUE(backend->read_only());
}

TEST_F(FileBackendTest, MissingFileIsNotFound) {
  const auto backend = FileBackend::Open("/nonexistent/disk", true);
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(backend.error().message(), "open /nonexistent/disk: No such file or directory");
}

TEST_F(FileBackendTest, DirectoriesAndPipesAreRefused) {
  EXPECT_FALSE(FileBackend::Open(::testing::TempDir(), true));
  EXPECT_FALSE(FileBackend::Open("/dev/null", true));
}

// Case 30: the descriptor itself cannot write.
TEST_F(FileBackendTest, ReadOnlyBackendRefusesToWrite) {
  auto backend = *FileBackend::Open(path_, true);
  Bytes bytes(512);
  const iovec part = IovecOf(bytes);

  const auto written = backend->Write({&part, 1}, 0);

  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), ErrorCode::kPermission);
  EXPECT_TRUE(backend->Flush());
}

// Case 31: truncated under us.
TEST_F(FileBackendTest, ReadOfATruncatedFileFails) {
  auto backend = *FileBackend::Open(path_, true);
  ASSERT_EQ(::truncate(path_.c_str(), 1000), 0);
  Bytes bytes(1024);
  const iovec part = IovecOf(bytes);

  const auto read = backend->Read({&part, 1}, 512);

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kCorrupt);
  EXPECT_EQ(read.error().message(), "read " + path_ + ": ends at byte 1000");
}

// Case 31: a write that the file system takes only in part (here by RLIMIT_FSIZE) is no success.
TEST_F(FileBackendTest, ShortWriteIsContinuedAndItsErrorReported) {
  auto backend = *FileBackend::Open(path_, false);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  Bytes bytes(1024, 0x33);
  const iovec part = IovecOf(bytes);

  const auto written = backend->Write({&part, 1}, 512);

  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errno_value(), EFBIG);
  EXPECT_EQ(Contents()[999], 0x33);
  EXPECT_TRUE(backend->Write({&part, 1}, 512));
}

TEST_F(FileBackendTest, ErrorOfTheSystemCallIsReported) {
  auto backend = *FileBackend::Open(path_, true);
  const iovec nowhere{nullptr, 512};

  const auto read = backend->Read({&nowhere, 1}, 0);

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().errno_value(), EFAULT);
}

// Case 32. The backend's descriptor becomes a pipe, which cannot be synced, and its file again.
TEST_F(FileBackendTest, FailedFlushIsSticky) {
  UniqueFd fd = *OpenFile(path_, O_RDWR);
  const int number = fd.get();
  const UniqueFd file = *fd.Duplicate();
  auto backend = *FileBackend::Create(std::move(fd), path_, false);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(pipe[0]);
  const UniqueFd write_end(pipe[1]);
  EXPECT_TRUE(backend->Flush());

  ASSERT_EQ(::dup3(write_end.get(), number, O_CLOEXEC), number);
  EXPECT_FALSE(backend->Flush());
  ASSERT_EQ(::dup3(file.get(), number, O_CLOEXEC), number);

  EXPECT_FALSE(backend->Flush());
}

// Case 33.
TEST_F(FileBackendTest, ForeignHeaderInARawImageStaysRaw) {
  {
    auto backend = *FileBackend::Open(path_, false);
    Bytes header{'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    const iovec part = IovecOf(header);
    ASSERT_TRUE(backend->Write({&part, 1}, 0));
  }
  auto backend = *FileBackend::Open(path_, true);
  Bytes bytes(4);
  const iovec part = IovecOf(bytes);

  ASSERT_TRUE(backend->Read({&part, 1}, 0));

  EXPECT_EQ(bytes, (Bytes{'Q', 'F', 'I', 0xfb}));
  EXPECT_EQ(backend->size(), 2048);
}

TEST_F(FileBackendTest, OneWriterExcludesEverybody) {
  const auto writer = *FileBackend::Open(path_, false);
  const auto second = FileBackend::Open(path_, false);
  const auto reader = FileBackend::Open(path_, true);

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kPermission);
  EXPECT_EQ(second.error().message(),
            path_ + ": in use by somebody else, cannot be opened for writing");
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().message(), path_ + ": locked by somebody who writes to it");
}

TEST_F(FileBackendTest, ReadersShare) {
  const auto first = *FileBackend::Open(path_, true);
  EXPECT_TRUE(FileBackend::Open(path_, true));
  EXPECT_FALSE(FileBackend::Open(path_, false));
}

TEST_F(FileBackendTest, LockEndsWithTheBackend) {
  FileBackend::Open(path_, false)->reset();
  EXPECT_TRUE(FileBackend::Open(path_, false));
}

}  // namespace
}  // namespace mayfly
