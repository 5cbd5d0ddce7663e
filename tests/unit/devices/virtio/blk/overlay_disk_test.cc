#include "devices/virtio/blk/overlay_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

// A base of four blocks and a half, whose bytes are the number of their block.
class OverlayDiskTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kBlock = 4096;
  static constexpr uint64_t kSize = 4 * kBlock + 2048;
  static constexpr uint64_t kData = 2 * kBlock;  // Where the layer's blocks start.

  OverlayDiskTest() {
    std::string pattern = ::testing::TempDir() + "mayfly-overlay-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    base_ = directory_ + "/base";
    layer_ = directory_ + "/layer";
    Bytes bytes(kSize);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i / kBlock + 1);
    Store(base_, bytes);
  }
  ~OverlayDiskTest() override { std::filesystem::remove_all(directory_); }

  static void Store(const std::string& path, const Bytes& bytes) {
    const UniqueFd fd = *OpenFile(path, O_RDWR | O_CREAT | O_TRUNC);
    ASSERT_TRUE(WriteAll(fd.get(), bytes, path));
  }
  Result<std::unique_ptr<OverlayDisk>> TryOpen(const std::string& layer) {
    return OverlayDisk::Open(*RawDisk::Open(base_, true), layer);
  }
  std::unique_ptr<OverlayDisk> Open() { return *TryOpen(layer_); }
  // The message with which the layer is refused, or "" if it is not.
  std::string Refusal() {
    const auto disk = TryOpen(layer_);
    return disk ? "" : disk.error().message();
  }
  static Result<void> Write(Disk& disk, uint64_t offset, size_t length, uint8_t value) {
    Bytes bytes(length, value);
    const iovec part{bytes.data(), bytes.size()};
    return disk.Write({&part, 1}, offset);
  }
  static Bytes Read(Disk& disk, uint64_t offset, size_t length) {
    Bytes bytes(length, 0xee);
    const iovec part{bytes.data(), bytes.size()};
    EXPECT_TRUE(disk.Read({&part, 1}, offset));
    return bytes;
  }
  static Bytes All(Disk& disk) { return Read(disk, 0, kSize); }
  // Overwrites bytes of the layer's file.
  template <class T>
  void Patch(uint64_t offset, const T& value) {
    const UniqueFd fd = *OpenFile(layer_, O_RDWR);
    ASSERT_EQ(::pwrite(fd.get(), &value, sizeof(value), static_cast<off_t>(offset)),
              static_cast<ssize_t>(sizeof(value)));
  }

  std::string directory_;
  std::string base_;
  std::string layer_;
};

TEST_F(OverlayDiskTest, StartsWithTheContentsOfTheBase) {
  auto disk = Open();
  EXPECT_EQ(disk->info().size, kSize);
  EXPECT_FALSE(disk->info().read_only);
  EXPECT_EQ(All(*disk), *ReadFile(base_, 1 << 20));
}

TEST_F(OverlayDiskTest, WrittenBlocksAreReadBackAndTheBaseStays) {
  const Bytes before = *ReadFile(base_, 1 << 20);
  auto disk = Open();

  ASSERT_TRUE(Write(*disk, kBlock, kBlock, 0x77));

  EXPECT_EQ(Read(*disk, kBlock, kBlock), Bytes(kBlock, 0x77));
  EXPECT_EQ(Read(*disk, 0, kBlock), Bytes(kBlock, 1));
  EXPECT_EQ(Read(*disk, 2 * kBlock, kBlock), Bytes(kBlock, 3));
  EXPECT_EQ(*ReadFile(base_, 1 << 20), before);
}

TEST_F(OverlayDiskTest, PartOfABlockTakesTheRestFromTheBase) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, 512, 512, 0x77));
  EXPECT_EQ(Read(*disk, 0, 512), Bytes(512, 1));
  EXPECT_EQ(Read(*disk, 512, 512), Bytes(512, 0x77));
  EXPECT_EQ(Read(*disk, 1024, 3072), Bytes(3072, 1));
}

TEST_F(OverlayDiskTest, WriteAcrossBlocksTakesBothEndsFromTheBase) {
  auto disk = Open();

  ASSERT_TRUE(Write(*disk, kBlock - 512, 2 * kBlock, 0x77));

  Bytes expected = *ReadFile(base_, 1 << 20);
  std::fill_n(expected.begin() + kBlock - 512, 2 * kBlock, uint8_t{0x77});
  EXPECT_EQ(All(*disk), expected);
}

TEST_F(OverlayDiskTest, LastBlockMayBeShort) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, kSize - 512, 512, 0x77));
  EXPECT_EQ(Read(*disk, 4 * kBlock, 1536), Bytes(1536, 5));
  EXPECT_EQ(Read(*disk, kSize - 512, 512), Bytes(512, 0x77));
}

TEST_F(OverlayDiskTest, IovecsAreCutWhereTheSourceChanges) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, kBlock, kBlock, 0x77));
  Bytes first(kBlock + 100);
  Bytes second(2 * kBlock - 100);
  const std::array<iovec, 2> parts{{{first.data(), first.size()}, {second.data(), second.size()}}};

  ASSERT_TRUE(disk->Read(parts, 0));

  EXPECT_EQ(first[kBlock - 1], 1);
  EXPECT_EQ(first[kBlock], 0x77);
  EXPECT_EQ(second[kBlock - 101], 0x77);
  EXPECT_EQ(second[kBlock - 100], 3);
}

TEST_F(OverlayDiskTest, WhatIsInMemoryIsReadNowFromBothFiles) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, kBlock, kBlock, 0x77));
  const Bytes expected = All(*disk);
  Bytes bytes(kSize);
  const iovec part{bytes.data(), bytes.size()};
  const bool read = disk->ReadNow({&part, 1}, 0);
  EXPECT_TRUE(!read || bytes == expected);
}

TEST_F(OverlayDiskTest, ReopenedLayerIsTheSameDisk) {
  Bytes before;
  {
    auto disk = Open();
    ASSERT_TRUE(Write(*disk, 100 * 0 + 512, kBlock, 0x77));
    before = All(*disk);
  }
  EXPECT_EQ(All(*Open()), before);
}

TEST_F(OverlayDiskTest, ManyOverlaysShareABase) {
  auto first = Open();
  auto second = *TryOpen(directory_ + "/second");
  ASSERT_TRUE(Write(*first, 0, kBlock, 0x11));
  ASSERT_TRUE(Write(*second, 0, kBlock, 0x22));
  EXPECT_EQ(Read(*first, 0, kBlock), Bytes(kBlock, 0x11));
  EXPECT_EQ(Read(*second, 0, kBlock), Bytes(kBlock, 0x22));
}

TEST_F(OverlayDiskTest, BaseInUseCannotBeWritten) {
  const auto disk = Open();
  EXPECT_FALSE(RawDisk::Open(base_, false));
  EXPECT_TRUE(RawDisk::Open(base_, true));
}

TEST_F(OverlayDiskTest, LayerInUseIsRefused) {
  const auto disk = Open();
  EXPECT_EQ(Refusal(), layer_ + ": in use by somebody else, cannot be opened for writing");
}

TEST_F(OverlayDiskTest, LayerIsSparseAndPrivate) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, kBlock, kBlock, 0x77));
  ASSERT_TRUE(disk->Flush());
  struct stat status{};
  ASSERT_EQ(::stat(layer_.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kData + kSize));
  EXPECT_LE(status.st_blocks * 512, static_cast<off_t>(kData + kBlock));
  EXPECT_EQ(status.st_mode & 0777, 0600);
}

// What a crash may do: the file as it is after a flush, with more blocks written to it.
TEST_F(OverlayDiskTest, BlocksThatWereNotFlushedAreThoseOfTheBase) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, 0, kBlock, 0x11));
  ASSERT_TRUE(disk->Flush());
  ASSERT_TRUE(Write(*disk, kBlock, kBlock, 0x22));

  std::filesystem::copy_file(layer_, directory_ + "/crashed");

  auto crashed = *TryOpen(directory_ + "/crashed");
  EXPECT_EQ(Read(*crashed, 0, kBlock), Bytes(kBlock, 0x11));
  EXPECT_EQ(Read(*crashed, kBlock, kBlock), Bytes(kBlock, 2));
}

TEST_F(OverlayDiskTest, ZeroesCoverTheBase) {
  auto disk = Open();

  ASSERT_TRUE(disk->WriteZeroes(512, 2 * kBlock, true));
  ASSERT_TRUE(disk->WriteZeroes(3 * kBlock, kBlock, false));

  Bytes expected = *ReadFile(base_, 1 << 20);
  std::fill_n(expected.begin() + 512, 2 * kBlock, uint8_t{0});
  std::fill_n(expected.begin() + 3 * kBlock, kBlock, uint8_t{0});
  EXPECT_EQ(All(*disk), expected);
}

TEST_F(OverlayDiskTest, DiscardGivesBackWhatTheLayerHas) {
  auto disk = Open();
  ASSERT_TRUE(Write(*disk, 0, 2 * kBlock, 0x77));

  ASSERT_TRUE(disk->Discard(512, 3 * kBlock));

  EXPECT_EQ(Read(*disk, 0, kBlock), Bytes(kBlock, 0x77));  // Only in part: stays.
  EXPECT_EQ(Read(*disk, kBlock, kBlock), Bytes(kBlock, 0));
  EXPECT_EQ(Read(*disk, 2 * kBlock, kBlock), Bytes(kBlock, 3));
}

TEST_F(OverlayDiskTest, EmptyFileBecomesALayer) {
  Store(layer_, {});
  EXPECT_EQ(All(*Open()), *ReadFile(base_, 1 << 20));
}

// The layer is an untrusted file.

TEST_F(OverlayDiskTest, FileThatIsNoLayerIsRefusedAndLeftAlone) {
  Store(layer_, Bytes(100, 7));
  EXPECT_EQ(Refusal(), layer_ + ": is not an overlay's layer");
  Store(layer_, Bytes(kData + kSize, 7));
  EXPECT_EQ(Refusal(), layer_ + ": is not an overlay's layer");
  EXPECT_EQ(*ReadFile(layer_, 1 << 20), Bytes(kData + kSize, 7));
}

TEST_F(OverlayDiskTest, EachFieldOfTheHeaderIsChecked) {
  Open().reset();
  const auto refusal_of = [this](uint64_t offset, uint32_t wrong, uint32_t right) {
    Patch(offset, wrong);
    std::string refusal = Refusal();
    Patch(offset, right);
    return refusal;
  };
  EXPECT_EQ(refusal_of(8, 2, 1), layer_ + ": version is 2 in the layer, expected 1");
  EXPECT_EQ(refusal_of(12, 0, 4096), layer_ + ": block_size is 0 in the layer, expected 4096");
  EXPECT_EQ(refusal_of(16, 512, kSize), layer_ + ": disk_size is 512 in the layer, expected 18432");
  EXPECT_EQ(refusal_of(24, 0, 4096), layer_ + ": bitmap_offset is 0 in the layer, expected 4096");
  EXPECT_EQ(refusal_of(32, 1, kData), layer_ + ": data_offset is 1 in the layer, expected 8192");
  EXPECT_EQ(refusal_of(40, 1, kData + kSize),
            layer_ + ": file_size is 1 in the layer, expected 26624");
  EXPECT_EQ(Refusal(), "");
}

TEST_F(OverlayDiskTest, LayerOfAnotherLengthIsRefused) {
  Open().reset();
  ASSERT_EQ(::truncate(layer_.c_str(), kData), 0);
  EXPECT_EQ(Refusal(), layer_ + ": the file has 8192 bytes, its header says 26624");
}

TEST_F(OverlayDiskTest, LayerOfAnotherBaseIsRefused) {
  Open().reset();
  ASSERT_EQ(::truncate(base_.c_str(), kBlock), 0);
  EXPECT_EQ(Refusal(), layer_ + ": disk_size is 18432 in the layer, expected 4096");
}

TEST_F(OverlayDiskTest, BitsBeyondTheLastBlockMeanNothing) {
  Open().reset();
  Patch(kBlock, uint64_t{0xffff'ffff'ffff'ffe0});
  Patch(2 * kBlock - 8, uint64_t{0xffff'ffff'ffff'ffff});
  EXPECT_EQ(All(*Open()), *ReadFile(base_, 1 << 20));
}

// Failures of the host.

TEST_F(OverlayDiskTest, NewLayerThatCannotBeMadeLeavesNoFile) {
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);

  const std::string refusal = Refusal();

  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  (void)std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(refusal, "set the size of " + layer_ + ": File too large");
  EXPECT_FALSE(std::filesystem::exists(layer_));
}

TEST_F(OverlayDiskTest, BlockThatCouldNotBeWrittenIsStillTheBases) {
  auto disk = Open();
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{kData, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);

  const auto written = Write(*disk, kBlock, kBlock, 0x77);

  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  (void)std::signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(written);
  EXPECT_EQ(Read(*disk, kBlock, kBlock), Bytes(kBlock, 2));
  EXPECT_TRUE(Write(*disk, kBlock, kBlock, 0x77));
}

TEST_F(OverlayDiskTest, BaseThatBecameShorterIsAnErrorOfTheRead) {
  auto disk = Open();
  ASSERT_EQ(::truncate(base_.c_str(), 1000), 0);
  Bytes bytes(kBlock);
  const iovec part{bytes.data(), bytes.size()};
  const auto read = disk->Read({&part, 1}, 0);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message(), "read " + base_ + ": ends at byte 1000");
}

}  // namespace
}  // namespace mayfly
