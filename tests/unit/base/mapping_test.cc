#include "base/mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/unique_fd.h"

namespace mayfly {
namespace {

constexpr size_t kPage = 4096;

// Whether the process has something at the address: msync() says ENOMEM where it has not.
bool IsMapped(uint8_t* address) { return ::msync(address, kPage, MS_ASYNC) == 0; }

// Whether it can be read: the kernel says EFAULT where it cannot.
bool IsReadable(const uint8_t* address) {
  const UniqueFd fd(::memfd_create("mapping_test", MFD_CLOEXEC));
  return ::write(fd.get(), address, 1) == 1;
}

TEST(MappingTest, AnonymousMemoryIsZeroAndWritable) {
  const Mapping mapping = *Mapping::Anonymous(kPage);
  ASSERT_EQ(mapping.size(), kPage);
  EXPECT_EQ(mapping.data()[kPage - 1], 0);
  mapping.data()[kPage - 1] = 1;
  EXPECT_EQ(mapping.data()[kPage - 1], 1);
}

TEST(MappingTest, DestructorUnmaps) {
  uint8_t* address = nullptr;
  {
    const Mapping mapping = *Mapping::Anonymous(kPage);
    address = mapping.data();
    ASSERT_TRUE(IsMapped(address));
  }
  EXPECT_FALSE(IsMapped(address));
}

TEST(MappingTest, HugeMemoryIsAlignedAndStandsBetweenGuards) {
  const Mapping mapping = *Mapping::AnonymousHuge(3 * kPage);
  const uint8_t* const start = mapping.data();
  const uint8_t* const end = start + mapping.size();

  EXPECT_EQ(reinterpret_cast<uintptr_t>(start) % (2 << 20), 0);
  EXPECT_TRUE(IsReadable(start));
  EXPECT_TRUE(IsReadable(end - 1));
  EXPECT_FALSE(IsReadable(start - 1));
  EXPECT_FALSE(IsReadable(start - Mapping::kGuard));
  EXPECT_FALSE(IsReadable(end));
  EXPECT_FALSE(IsReadable(end + Mapping::kGuard - 1));
}

TEST(MappingTest, GuardsGoWithTheMemory) {
  uint8_t* start = nullptr;
  {
    const Mapping mapping = *Mapping::AnonymousHuge(kPage);
    start = mapping.data();
    ASSERT_TRUE(IsMapped(start - kPage));
  }
  EXPECT_FALSE(IsMapped(start));
  EXPECT_FALSE(IsMapped(start - kPage));
  EXPECT_FALSE(IsMapped(start + kPage));
}

TEST(MappingTest, MoveKeepsTheAddress) {
  Mapping from = *Mapping::Anonymous(kPage);
  uint8_t* const address = from.data();

  const Mapping to = std::move(from);

  EXPECT_EQ(to.data(), address);
  // NOLINTNEXTLINE(bugprone-use-after-move,clang-analyzer-cplusplus.Move): what a move leaves.
  EXPECT_EQ(from.data(), nullptr);
  EXPECT_TRUE(IsMapped(address));
}

TEST(MappingTest, MoveAssignmentUnmapsWhatWasHeld) {
  Mapping to = *Mapping::Anonymous(kPage);
  Mapping from = *Mapping::Anonymous(kPage);
  uint8_t* const old_address = to.data();

  to = std::move(from);

  EXPECT_FALSE(IsMapped(old_address));
}

TEST(MappingTest, FileShowsTheBytesFromItsOffset) {
  const UniqueFd fd(::memfd_create("mapping_test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(fd.get(), 2 * kPage), 0);
  const uint8_t byte = 0x42;
  ASSERT_EQ(::pwrite(fd.get(), &byte, 1, kPage), 1);

  const auto mapping = Mapping::File(fd.get(), kPage, kPage, PROT_READ, MAP_PRIVATE);

  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->data()[0], byte);
}

TEST(MappingTest, FailureIsAnError) {
  EXPECT_FALSE(Mapping::Anonymous(0));
  EXPECT_FALSE(Mapping::File(-1, 0, kPage, PROT_READ, MAP_PRIVATE));
}

}  // namespace
}  // namespace mayfly
