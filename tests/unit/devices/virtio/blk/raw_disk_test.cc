#include "devices/virtio/blk/raw_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <vector>

#include "base/file.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

// A file of four sectors, whose bytes are the number of their sector.
class RawDiskTest : public ::testing::Test {
 protected:
  RawDiskTest() {
    std::string name = ::testing::TempDir() + "mayfly-disk-XXXXXX";
    const UniqueFd fd(::mkstemp(name.data()));
    path_ = name;
    Bytes bytes(2048);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i / 512);
    EXPECT_TRUE(WriteAll(fd.get(), bytes, path_));
  }
  ~RawDiskTest() override { ::unlink(path_.c_str()); }

  Bytes Contents() { return *ReadFile(path_, 1 << 20); }

  std::string path_;
};

iovec IovecOf(Bytes& bytes) { return {bytes.data(), bytes.size()}; }

TEST_F(RawDiskTest, ReadFillsAllParts) {
  auto disk = *RawDisk::Open(path_, true);
  Bytes first(500);
  Bytes second(524);
  const std::array<iovec, 2> parts{IovecOf(first), IovecOf(second)};

  ASSERT_TRUE(disk->Read(parts, 1024));

  EXPECT_EQ(first, Bytes(500, 2));
  EXPECT_EQ(second.front(), 2);
  EXPECT_EQ(second.back(), 3);
}

TEST_F(RawDiskTest, WriteTakesAllParts) {
  auto disk = *RawDisk::Open(path_, false);
  Bytes first(12, 0x11);
  Bytes second(500, 0x22);
  const std::array<iovec, 2> parts{IovecOf(first), IovecOf(second)};

  ASSERT_TRUE(disk->Write(parts, 512));
  ASSERT_TRUE(disk->Flush());

  const Bytes contents = Contents();
  EXPECT_EQ(contents.size(), 2048);
  EXPECT_EQ(contents[511], 0);
  EXPECT_EQ(contents[512], 0x11);
  EXPECT_EQ(contents[1023], 0x22);
  EXPECT_EQ(contents[1024], 2);
}

TEST_F(RawDiskTest, MorePartsThanASystemCallTakes) {
  auto disk = *RawDisk::Open(path_, true);
  Bytes bytes(2048, 0xff);
  std::vector<iovec> parts;
  parts.reserve(bytes.size());
  for (uint8_t& byte : bytes) parts.push_back({&byte, 1});

  ASSERT_TRUE(disk->Read(parts, 0));

  EXPECT_EQ(bytes, Contents());
}

TEST_F(RawDiskTest, KnowsWhatItIs) {
  const auto disk = *RawDisk::Open(path_, true);
  EXPECT_EQ(disk->info().size, 2048);
  EXPECT_TRUE(disk->info().read_only);
  EXPECT_EQ(disk->info().physical_block_size, 4096);
}

// Case 30: a descriptor that could write is none for a read-only disk.
TEST_F(RawDiskTest, DescriptorOfAnotherAccessModeIsRefused) {
  const auto writable = RawDisk::Create(*OpenFile(path_, O_RDWR), "disk", true);
  const auto readable = RawDisk::Create(*OpenFile(path_, O_RDONLY), "disk", false);

  ASSERT_FALSE(writable);
  EXPECT_EQ(writable.error().message(), "disk: the descriptor of a read-only disk can write");
  ASSERT_FALSE(readable);
  EXPECT_EQ(readable.error().message(), "disk: the descriptor cannot both read and write");
}

TEST_F(RawDiskTest, WhatIsInMemoryIsReadNow) {
  auto disk = *RawDisk::Open(path_, true);
  Bytes bytes(1024);
  const iovec part = IovecOf(bytes);
  ASSERT_TRUE(disk->Read({&part, 1}, 0));
  std::ranges::fill(bytes, uint8_t{0xff});

  EXPECT_TRUE(disk->ReadNow({&part, 1}, 1024));

  EXPECT_EQ(bytes.front(), 2);
  EXPECT_EQ(bytes.back(), 3);
}

TEST_F(RawDiskTest, ReadNowBeyondTheEndOfTheFileIsNoSuccess) {
  auto disk = *RawDisk::Open(path_, true);
  Bytes bytes(1024);
  const iovec part = IovecOf(bytes);
  EXPECT_FALSE(disk->ReadNow({&part, 1}, 1536));
}

TEST_F(RawDiskTest, DiscardedRangeReadsAsZeros) {
  auto disk = *RawDisk::Open(path_, false);

  ASSERT_TRUE(disk->Discard(512, 1024));

  const Bytes contents = Contents();
  EXPECT_EQ(contents.size(), 2048);
  EXPECT_EQ(contents[512], 0);
  EXPECT_EQ(contents[1535], 0);
  EXPECT_EQ(contents[1536], 3);
}

TEST_F(RawDiskTest, ZeroesAreWritten) {
  auto disk = *RawDisk::Open(path_, false);

  ASSERT_TRUE(disk->WriteZeroes(512, 512, false));
  ASSERT_TRUE(disk->WriteZeroes(1536, 512, true));

  const Bytes contents = Contents();
  EXPECT_EQ(contents.size(), 2048);
  EXPECT_EQ(contents[1023], 0);
  EXPECT_EQ(contents[1024], 2);
  EXPECT_EQ(contents[1536], 0);
}

// tmpfs does not know FALLOC_FL_ZERO_RANGE.
TEST_F(RawDiskTest, ZeroesAreWrittenWhereTheFileSystemCannotMakeThem) {
  const UniqueFd memory(::memfd_create("disk", MFD_CLOEXEC));
  ASSERT_TRUE(WriteAll(memory.get(), Bytes(300'000, 7), "disk"));
  auto disk = *RawDisk::Create(*memory.Duplicate(), "disk", false);

  ASSERT_TRUE(disk->WriteZeroes(512, 262'144, false));

  Bytes contents(300'000);
  ASSERT_TRUE(ReadExactAt(memory.get(), contents, 0, "disk"));
  EXPECT_EQ(contents[511], 7);
  EXPECT_EQ(std::ranges::count(contents, 0), 262'144);
  EXPECT_EQ(contents[262'656], 7);
}

TEST_F(RawDiskTest, ReadOnlyDiskRefusesToDiscard) {
  auto disk = *RawDisk::Open(path_, true);
  EXPECT_FALSE(disk->Discard(0, 512));
  EXPECT_FALSE(disk->WriteZeroes(0, 512, true));
}

TEST_F(RawDiskTest, MissingFileIsNotFound) {
  const auto disk = RawDisk::Open("/nonexistent/disk", true);
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(disk.error().message(), "open /nonexistent/disk: No such file or directory");
}

TEST_F(RawDiskTest, DirectoriesAndPipesAreRefused) {
  EXPECT_FALSE(RawDisk::Open(::testing::TempDir(), true));
  EXPECT_FALSE(RawDisk::Open("/dev/null", true));
}

// Case 30: the descriptor itself cannot write.
TEST_F(RawDiskTest, ReadOnlyDiskRefusesToWrite) {
  auto disk = *RawDisk::Open(path_, true);
  Bytes bytes(512);
  const iovec part = IovecOf(bytes);

  const auto written = disk->Write({&part, 1}, 0);

  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), ErrorCode::kPermission);
  EXPECT_TRUE(disk->Flush());
}

// Case 31: truncated under us.
TEST_F(RawDiskTest, ReadOfATruncatedFileFails) {
  auto disk = *RawDisk::Open(path_, true);
  ASSERT_EQ(::truncate(path_.c_str(), 1000), 0);
  Bytes bytes(1024);
  const iovec part = IovecOf(bytes);

  const auto read = disk->Read({&part, 1}, 512);

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kCorrupt);
  EXPECT_EQ(read.error().message(), "read " + path_ + ": ends at byte 1000");
}

// Case 31: a write that the file system takes only in part (here by RLIMIT_FSIZE) is no success.
TEST_F(RawDiskTest, ShortWriteIsContinuedAndItsErrorReported) {
  auto disk = *RawDisk::Open(path_, false);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  Bytes bytes(1024, 0x33);
  const iovec part = IovecOf(bytes);

  const auto written = disk->Write({&part, 1}, 512);

  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  (void)std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errno_value(), EFBIG);
  EXPECT_EQ(Contents()[999], 0x33);
  EXPECT_TRUE(disk->Write({&part, 1}, 512));
}

TEST_F(RawDiskTest, ErrorOfTheSystemCallIsReported) {
  auto disk = *RawDisk::Open(path_, true);
  const iovec nowhere{nullptr, 512};

  const auto read = disk->Read({&nowhere, 1}, 0);

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().errno_value(), EFAULT);
}

// Case 32. The disk's descriptor becomes a pipe, which cannot be synced, and its file again.
TEST_F(RawDiskTest, FailedFlushIsSticky) {
  UniqueFd fd = *OpenFile(path_, O_RDWR);
  const int number = fd.get();
  const UniqueFd file = *fd.Duplicate();
  auto disk = *RawDisk::Create(std::move(fd), path_, false);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(pipe[0]);
  const UniqueFd write_end(pipe[1]);
  EXPECT_TRUE(disk->Flush());

  ASSERT_EQ(::dup3(write_end.get(), number, O_CLOEXEC), number);
  EXPECT_FALSE(disk->Flush());
  ASSERT_EQ(::dup3(file.get(), number, O_CLOEXEC), number);

  EXPECT_FALSE(disk->Flush());
}

// Case 33.
TEST_F(RawDiskTest, ForeignHeaderInARawImageStaysRaw) {
  {
    auto disk = *RawDisk::Open(path_, false);
    Bytes header{'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    const iovec part = IovecOf(header);
    ASSERT_TRUE(disk->Write({&part, 1}, 0));
  }
  auto disk = *RawDisk::Open(path_, true);
  Bytes bytes(4);
  const iovec part = IovecOf(bytes);

  ASSERT_TRUE(disk->Read({&part, 1}, 0));

  EXPECT_EQ(bytes, (Bytes{'Q', 'F', 'I', 0xfb}));
  EXPECT_EQ(disk->info().size, 2048);
}

TEST_F(RawDiskTest, OneWriterExcludesEverybody) {
  const auto writer = *RawDisk::Open(path_, false);
  const auto second = RawDisk::Open(path_, false);
  const auto reader = RawDisk::Open(path_, true);

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kPermission);
  EXPECT_EQ(second.error().message(),
            path_ + ": in use by somebody else, cannot be opened for writing");
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().message(), path_ + ": locked by somebody who writes to it");
}

TEST_F(RawDiskTest, ReadersShare) {
  const auto first = *RawDisk::Open(path_, true);
  EXPECT_TRUE(RawDisk::Open(path_, true));
  EXPECT_FALSE(RawDisk::Open(path_, false));
}

TEST_F(RawDiskTest, LockEndsWithTheBackend) {
  RawDisk::Open(path_, false)->reset();
  EXPECT_TRUE(RawDisk::Open(path_, false));
}

}  // namespace
}  // namespace mayfly
