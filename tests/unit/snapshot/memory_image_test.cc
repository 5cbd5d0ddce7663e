#include "snapshot/memory_image.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "snapshot/memory_writer.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;
// 16 chunks and two pages.
constexpr uint64_t kSize = 16 * kChunk + 2 * kPage;
constexpr uint64_t kDataAt = 3 * kChunk + 2 * kPage;
constexpr uint64_t kLastPage = kSize - kPage;

// The memory of a guest that has written two pages, in two chunks, the last one among them.
class MemoryImageTest : public ::testing::Test {
 protected:
  MemoryImageTest() {
    EXPECT_TRUE(memory_->Fill(GuestAddress{kDataAt}, 0x5a, kPage));
    EXPECT_TRUE(memory_->Fill(GuestAddress{kLastPage + 1}, 0xa5, 1));
    EXPECT_EQ(*WriteMemory(*memory_, fd_.get()), 2 * kPage);
    std::vector<MemoryLayer> layers;
    layers.push_back({*fd_.Duplicate()});
    digests_ = *DigestMemory(MemoryLayers(std::move(layers), kSize));
    WriteDigests();
  }

  void WriteDigests() {
    const std::span<const uint8_t> bytes(digests_.front().data(),
                                         digests_.size() * sizeof(Sha256Digest));
    scratch_.Write("memory.digests", AsText(bytes));
    digests_digest_ = DigestOf(bytes);
  }

  [[nodiscard]] Result<std::unique_ptr<MemoryImage>> Open(const std::string& memory,
                                                          const std::string& digests) const {
    return MemoryImage::Open(*OpenFile(scratch_ / memory, O_RDONLY | O_NONBLOCK),
                             *OpenFile(scratch_ / digests, O_RDONLY | O_NONBLOCK), kSize,
                             digests_digest_);
  }

  [[nodiscard]] Result<void> CheckAll() const {
    auto image = TRY(Open("memory", "memory.digests"));
    return image->CheckAll();
  }

  void FlipByteAt(uint64_t offset) const {
    uint8_t byte = 0;
    ASSERT_TRUE(ReadExactAt(fd_.get(), MutableBytesOf(byte), offset, "memory"));
    byte ^= 0x01;
    ASSERT_EQ(::pwrite(fd_.get(), &byte, 1, static_cast<off_t>(offset)), 1);
  }

  Scratch scratch_;
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kSize);
  UniqueFd fd_ = *OpenFile(scratch_ / "memory", O_RDWR | O_CREAT | O_EXCL);
  std::vector<Sha256Digest> digests_;
  Sha256Digest digests_digest_{};
};

TEST_F(MemoryImageTest, FileHoldsTheGuestsMemory) {
  std::vector<uint8_t> expected(kSize);
  ASSERT_TRUE(memory_->Read(GuestAddress{0}, expected));
  EXPECT_EQ(*ReadFile(scratch_ / "memory", kSize), expected);
}

TEST_F(MemoryImageTest, ZeroPagesAreHoles) {
  EXPECT_EQ(::lseek(fd_.get(), 0, SEEK_DATA), static_cast<off_t>(kDataAt));
  EXPECT_EQ(::lseek(fd_.get(), kDataAt, SEEK_HOLE), static_cast<off_t>(kDataAt + kPage));
  EXPECT_EQ(::lseek(fd_.get(), kDataAt + kPage, SEEK_DATA), static_cast<off_t>(kLastPage));
  ASSERT_EQ(::fsync(fd_.get()), 0);
  struct stat status{};
  ASSERT_EQ(::fstat(fd_.get(), &status), 0);
  EXPECT_LT(static_cast<uint64_t>(status.st_blocks) * 512, kChunk);
}

// The guest has touched it, so the host has a page for it.
TEST_F(MemoryImageTest, PageThatWasWrittenWithZerosIsAHole) {
  const Scratch scratch;
  const UniqueFd fd = *OpenFile(scratch / "memory", O_RDWR | O_CREAT);
  ASSERT_TRUE(memory_->Fill(GuestAddress{0}, 0, kChunk));
  EXPECT_EQ(*WriteMemory(*memory_, fd.get()), 2 * kPage);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_DATA), static_cast<off_t>(kDataAt));
}

TEST_F(MemoryImageTest, RegionsAboveTheHoleFollowOnTheFirst) {
  const Scratch scratch;
  const UniqueFd fd = *OpenFile(scratch / "memory", O_RDWR | O_CREAT);
  const auto memory = *GuestMemory::Create(GuestMemory::kHoleStart + kPage);
  ASSERT_TRUE(memory->Fill(GuestAddress{GuestMemory::kHoleEnd}, 7, 1));
  EXPECT_EQ(*WriteMemory(*memory, fd.get()), kPage);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_DATA), static_cast<off_t>(GuestMemory::kHoleStart));
}

TEST_F(MemoryImageTest, OnlyChunksWithDataHaveADigest) {
  ASSERT_EQ(digests_.size(), 17u);
  EXPECT_EQ(std::ranges::count(digests_, Sha256Digest{}), 15);
  std::vector<uint8_t> chunk(kChunk);
  ASSERT_TRUE(memory_->Read(GuestAddress{3 * kChunk}, chunk));
  EXPECT_EQ(digests_[3], DigestOf(chunk));
  std::vector<uint8_t> last(2 * kPage);
  ASSERT_TRUE(memory_->Read(GuestAddress{16 * kChunk}, last));
  EXPECT_EQ(digests_[16], DigestOf(last));
}

TEST_F(MemoryImageTest, UndamagedFileIsGood) {
  const auto checked = CheckAll();
  EXPECT_TRUE(checked) << checked.error().message();
}

// A file that was copied without regard to holes.
TEST_F(MemoryImageTest, ZerosInPlaceOfAHoleAreGood) {
  const std::vector<uint8_t> zeros(kChunk);
  ASSERT_EQ(::pwrite(fd_.get(), zeros.data(), zeros.size(), 8 * kChunk),
            static_cast<ssize_t>(kChunk));
  EXPECT_TRUE(CheckAll());
}

TEST_F(MemoryImageTest, FlippedByteInDataIsFound) {
  FlipByteAt(kDataAt + 100);
  EXPECT_EQ(CodeOf(CheckAll()), ErrorCode::kCorrupt);
  EXPECT_EQ(MessageOf(CheckAll()), "memory: the chunk at 0x30000 does not match its digest");
}

TEST_F(MemoryImageTest, FlippedLastByteIsFound) {
  FlipByteAt(kSize - 1);
  EXPECT_EQ(MessageOf(CheckAll()), "memory: the chunk at 0x100000 does not match its digest");
}

TEST_F(MemoryImageTest, DataWhereAHoleShouldBeIsFound) {
  FlipByteAt(8 * kChunk + 5);
  EXPECT_EQ(MessageOf(CheckAll()), "memory: the chunk at 0x80000 does not match its digest");
}

TEST_F(MemoryImageTest, HoleWhereDataShouldBeIsFound) {
  ASSERT_EQ(::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * kChunk, kChunk),
            0);
  EXPECT_EQ(MessageOf(CheckAll()), "memory: the chunk at 0x30000 is a hole");
}

TEST_F(MemoryImageTest, ChangedDigestsAreFound) {
  digests_[0] = digests_[3];
  const Sha256Digest before = digests_digest_;
  WriteDigests();
  digests_digest_ = before;
  EXPECT_EQ(MessageOf(CheckAll()), "memory.digests: its digest does not match");
}

TEST_F(MemoryImageTest, ChunkIsGoodOnlyWithLoadedDigests) {
  const auto image = *Open("memory", "memory.digests");
  std::vector<uint8_t> zeros(kChunk);
  EXPECT_EQ(CodeOf(image->CheckChunk(0, zeros)), ErrorCode::kCorrupt);
  ASSERT_TRUE(image->LoadDigests());
  EXPECT_TRUE(image->CheckChunk(0, zeros));
  EXPECT_FALSE(image->CheckChunk(3, zeros));
  EXPECT_FALSE(image->CheckChunk(17, zeros));
}

TEST_F(MemoryImageTest, OtherSizesAreRefused) {
  ASSERT_EQ(::truncate((scratch_ / "memory.digests").c_str(), 16 * sizeof(Sha256Digest)), 0);
  EXPECT_EQ(MessageOf(Open("memory", "memory.digests")),
            "memory.digests: 512 bytes, the manifest says 544");
  ASSERT_EQ(::ftruncate(fd_.get(), kSize - 1), 0);
  EXPECT_EQ(CodeOf(Open("memory", "memory.digests")), ErrorCode::kCorrupt);
  ASSERT_EQ(::ftruncate(fd_.get(), kSize + 1), 0);
  EXPECT_EQ(MessageOf(Open("memory", "memory.digests")),
            "memory: 1056769 bytes, the manifest says 1056768");
}

TEST_F(MemoryImageTest, OtherKindsOfFilesAreRefused) {
  std::filesystem::create_directory(scratch_ / "directory");
  ASSERT_EQ(::mkfifo((scratch_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(MessageOf(Open("directory", "memory.digests")), "memory: not a regular file");
  EXPECT_EQ(MessageOf(Open("fifo", "memory.digests")), "memory: not a regular file");
  EXPECT_EQ(MessageOf(Open("memory", "directory")), "memory.digests: not a regular file");
  EXPECT_EQ(MessageOf(Open("memory", "fifo")), "memory.digests: not a regular file");
}

}  // namespace
}  // namespace mayfly
