#include "snapshot/page_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <numeric>

#include "base/file.h"
#include "snapshot/memory_writer.h"
#include "snapshot/paged_regions.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;
constexpr uint64_t kSize = 4 * kChunk;

// An image without holes, and memory that it can be filled into.
class PageSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto uffd = Userfaultfd::Create();
    if (!uffd) GTEST_SKIP() << uffd.error().message();
    uffd_ = std::make_unique<Userfaultfd>(std::move(*uffd));
    ASSERT_TRUE(uffd_->Register(host(), kSize));
    std::iota(contents_.begin(), contents_.end(), uint8_t{1});
    scratch_.Write("memory", AsText(contents_));
    std::vector<MemoryLayer> layers;
    layers.push_back({Open("memory")});
    const auto digests = *DigestMemory(MemoryLayers(std::move(layers), kSize));
    const std::span<const uint8_t> bytes(digests.front().data(),
                                         digests.size() * sizeof(Sha256Digest));
    scratch_.Write("memory.digests", AsText(bytes));
    digest_ = DigestOf(bytes);
  }

  [[nodiscard]] uint64_t host() const { return PagedRegions::Of(*memory_).regions().front().host; }
  [[nodiscard]] UniqueFd Open(const std::string& name) const {
    return OpenFile(scratch_ / name, O_RDWR).value();
  }
  [[nodiscard]] std::unique_ptr<MemoryImage> Image() const {
    return MemoryImage::Open(Open("memory"), Open("memory.digests"), kSize, digest_).value();
  }
  void Damage(uint64_t offset) const {
    const uint8_t byte = 0;
    ASSERT_EQ(::pwrite(Open("memory").get(), &byte, 1, static_cast<off_t>(offset)), 1);
  }
  void ExpectContents(uint64_t offset, uint64_t length) const {
    std::vector<uint8_t> bytes(length);
    ASSERT_TRUE(memory_->Read(GuestAddress{offset}, bytes));
    EXPECT_TRUE(std::ranges::equal(bytes, std::span(contents_).subspan(offset, length)));
  }

  Scratch scratch_;
  std::vector<uint8_t> contents_ = std::vector<uint8_t>(kSize);
  Sha256Digest digest_{};
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kSize);
  std::unique_ptr<Userfaultfd> uffd_;
};

TEST_F(PageSourceTest, MappedPagesAreTheFiles) {
  const auto source = MappedPages::Create(Image()).value();
  ASSERT_TRUE(source->Fill(*uffd_, host() + 3 * kPage, 3 * kPage, 20 * kPage));
  ExpectContents(3 * kPage, 20 * kPage);
}

TEST_F(PageSourceTest, MappedPagesOfAShortenedFileAreAnError) {
  const auto source = MappedPages::Create(Image()).value();
  ASSERT_EQ(::ftruncate(Open("memory").get(), kChunk), 0);
  const auto filled = source->Fill(*uffd_, host() + kChunk, kChunk, kPage);
  ASSERT_FALSE(filled);
  EXPECT_EQ(filled.error().code(), ErrorCode::kCorrupt);
}

TEST_F(PageSourceTest, CheckedPagesAreTheFilesAcrossChunks) {
  const auto source = CheckedPages::Create(Image()).value();
  ASSERT_TRUE(source->Fill(*uffd_, host() + 3 * kPage, 3 * kPage, 40 * kPage));
  ExpectContents(3 * kPage, 40 * kPage);
}

TEST_F(PageSourceTest, CheckedPagesOfADamagedChunkAreAnErrorWhereverTheDamageIs) {
  Damage(2 * kChunk - 2);
  const auto source = CheckedPages::Create(Image()).value();
  const auto filled = source->Fill(*uffd_, host() + kChunk, kChunk, kPage);
  ASSERT_FALSE(filled);
  EXPECT_EQ(filled.error().code(), ErrorCode::kCorrupt);
}

TEST_F(PageSourceTest, RunsThatShareAChunkGetWhatWasComparedOnce) {
  const auto source = CheckedPages::Create(Image()).value();
  ASSERT_TRUE(source->Fill(*uffd_, host(), 0, kPage));
  Damage(2 * kPage);
  ASSERT_TRUE(source->Fill(*uffd_, host() + 2 * kPage, 2 * kPage, kPage));
  ExpectContents(2 * kPage, kPage);
}

TEST_F(PageSourceTest, AChunkThatDidNotMatchIsNotKept) {
  Damage(0);
  const auto source = CheckedPages::Create(Image()).value();
  EXPECT_FALSE(source->Fill(*uffd_, host(), 0, kPage));
  EXPECT_FALSE(source->Fill(*uffd_, host() + kPage, kPage, kPage));
}

}  // namespace
}  // namespace mayfly
