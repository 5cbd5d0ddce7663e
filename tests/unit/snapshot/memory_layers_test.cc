#include "snapshot/memory_layers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kPages = 8;

// Three files of eight pages: in the lowest all pages are full of 'a', in the middle one of 'b' and
// in the uppermost of 'c', but for those that are in nobody's list.
class MemoryLayersTest : public ::testing::Test {
 protected:
  MemoryLayer Layer(char fill, const std::vector<PageRun>& runs) {
    const std::string path = scratch_ / std::string(1, fill);
    const UniqueFd fd = *OpenFile(path, O_RDWR | O_CREAT);
    EXPECT_EQ(::ftruncate(fd.get(), kPages * kPage), 0);
    const std::string page(kPage, fill);
    for (const PageRun& run : runs) {
      for (uint64_t i = run.page; i < run.page + run.count; ++i) {
        EXPECT_EQ(::pwrite(fd.get(), page.data(), kPage, static_cast<off_t>(i * kPage)),
                  static_cast<ssize_t>(kPage));
      }
    }
    return {*OpenFile(path, O_RDONLY), {runs}};
  }

  MemoryLayers Stack(const std::vector<PageRun>& middle, const std::vector<PageRun>& upper) {
    std::vector<MemoryLayer> layers;
    layers.push_back(Layer('c', upper));
    layers.push_back(Layer('b', middle));
    layers.push_back(Layer('a', {{0, kPages}}));
    return {std::move(layers), kPages * kPage};
  }

  // A letter for each page, read at once.
  static std::string Picture(const MemoryLayers& layers) {
    std::vector<uint8_t> bytes(layers.bytes());
    EXPECT_TRUE(layers.Read(0, bytes));
    std::string picture;
    for (uint64_t page = 0; page < kPages; ++page) {
      picture += static_cast<char>(bytes[page * kPage + 77]);
    }
    return picture;
  }

  Scratch scratch_;
};

TEST_F(MemoryLayersTest, APageIsThatOfTheUppermostLayerThatHasIt) {
  EXPECT_EQ(Picture(Stack({{1, 4}}, {{0, 1}, {2, 1}, {4, 2}})), "cbcbccaa");
  EXPECT_EQ(Picture(Stack({{1, 1}, {3, 1}, {5, 1}}, {{0, 8}})), "cccccccc");
  EXPECT_EQ(Picture(Stack({{0, 2}, {6, 2}}, {{1, 6}})), "bccccccb");
  EXPECT_EQ(Picture(Stack({}, {})), "aaaaaaaa");
}

TEST_F(MemoryLayersTest, ExtentsAreAsLongAsTheyCanBe) {
  const MemoryLayers layers = Stack({{2, 4}}, {{3, 1}});
  const auto fds = layers.fds();
  const auto extents = layers.extents();
  ASSERT_EQ(extents.size(), 5u);
  EXPECT_EQ(extents[0].end, 2 * kPage);
  EXPECT_EQ(extents[0].fd, fds[2]);
  EXPECT_EQ(extents[1].fd, fds[1]);
  EXPECT_EQ(extents[2].start, 3 * kPage);
  EXPECT_EQ(extents[2].end, 4 * kPage);
  EXPECT_EQ(extents[2].fd, fds[0]);
  EXPECT_EQ(extents[4].end, kPages * kPage);
}

TEST_F(MemoryLayersTest, ReadsCanBeginAndEndAnywhere) {
  const MemoryLayers layers = Stack({{1, 1}}, {{2, 1}});
  std::vector<uint8_t> bytes(kPage + 2);
  ASSERT_TRUE(layers.Read(kPage - 1, bytes));
  EXPECT_EQ(bytes[0], 'a');
  EXPECT_EQ(bytes[1], 'b');
  EXPECT_EQ(bytes[kPage], 'b');
  EXPECT_EQ(bytes[kPage + 1], 'c');
}

// A page that its machine has cleared is a hole of an upper layer, and not the parent's.
TEST_F(MemoryLayersTest, HolesOfAnUpperLayerAreZerosAndNoData) {
  std::vector<MemoryLayer> layers;
  layers.push_back(Layer('c', {}));
  layers.back().pages.Add(5);
  layers.push_back(Layer('a', {{0, kPages}}));
  const MemoryLayers stack(std::move(layers), kPages * kPage);
  EXPECT_EQ(Picture(stack), std::string("aaaaa\0aa", 8));
  const auto data = *stack.Data();
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(data[0].end, 5 * kPage);
  EXPECT_EQ(data[1].start, 6 * kPage);
}

TEST_F(MemoryLayersTest, AShortenedFileIsAnError) {
  const MemoryLayers layers = Stack({}, {});
  ASSERT_EQ(::truncate((scratch_ / "a").c_str(), 3 * kPage), 0);
  std::vector<uint8_t> bytes(kPage);
  EXPECT_TRUE(layers.Read(0, bytes));
  EXPECT_EQ(CodeOf(layers.Read(3 * kPage, bytes)), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace mayfly
