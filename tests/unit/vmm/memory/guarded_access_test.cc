#include "vmm/memory/guarded_access.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <numeric>
#include <vector>

#include "base/mapping.h"
#include "base/thread.h"
#include "base/unique_fd.h"

namespace mayfly {
namespace {

constexpr size_t kPage = 4096;

// Two pages, of which the second is not accessible.
class GuardedAccessTest : public testing::Test {
 protected:
  GuardedAccessTest() : mapping_(Mapping::Anonymous(2 * kPage).value()) {
    InstallGuardedAccess();
    ::mprotect(mapping_.data() + kPage, kPage, PROT_NONE);
  }

  // `length` bytes up to the end of the accessible page.
  [[nodiscard]] uint8_t* Last(size_t length) const { return mapping_.data() + kPage - length; }

  Mapping mapping_;
};

class GuardedCopyLengthTest : public GuardedAccessTest,
                              public testing::WithParamInterface<size_t> {};

TEST_P(GuardedCopyLengthTest, CopiesAllBytesAndNoMore) {
  std::vector<uint8_t> from(GetParam());
  std::iota(from.begin(), from.end(), uint8_t{1});
  std::vector<uint8_t> to(GetParam() + 1, 0xee);
  ASSERT_TRUE(GuardedCopy(Last(GetParam()), from.data(), GetParam()));
  ASSERT_TRUE(GuardedCopy(to.data(), Last(GetParam()), GetParam()));
  EXPECT_EQ(to.back(), 0xee);
  to.pop_back();
  EXPECT_EQ(to, from);
}

INSTANTIATE_TEST_SUITE_P(Lengths, GuardedCopyLengthTest,
                         testing::Values(0, 1, 7, 8, 15, 16, 17, 32, 47, 256, 79, 80, 81, 143, 144,
                                         1024, 4095));

TEST_P(GuardedCopyLengthTest, StopsWhereThereIsNothing) {
  std::vector<uint8_t> bytes(GetParam() + 1);
  EXPECT_FALSE(GuardedCopy(bytes.data(), Last(GetParam()), GetParam() + 1));
  EXPECT_FALSE(GuardedCopy(Last(GetParam()), bytes.data(), GetParam() + 1));
}

TEST_F(GuardedAccessTest, FillsAndStops) {
  ASSERT_TRUE(GuardedFill(Last(100), 7, 100));
  EXPECT_EQ(*Last(100), 7);
  EXPECT_EQ(*Last(1), 7);
  EXPECT_FALSE(GuardedFill(Last(100), 7, 101));
}

TEST_F(GuardedAccessTest, LoadsAndStoresWhereThereIsSomething) {
  uint16_t value = 0;
  ASSERT_TRUE(GuardedStore16(reinterpret_cast<uint16_t*>(Last(2)), 0xbeef));
  ASSERT_TRUE(GuardedLoad16(reinterpret_cast<const uint16_t*>(Last(2)), &value));
  EXPECT_EQ(value, 0xbeef);
  EXPECT_FALSE(GuardedStore16(reinterpret_cast<uint16_t*>(Last(0)), 1));
  EXPECT_FALSE(GuardedLoad16(reinterpret_cast<const uint16_t*>(Last(0)), &value));
}

TEST_F(GuardedAccessTest, AShortenedFileIsNotThere) {
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), kPage), 0);
  const Mapping mapped = Mapping::PrivateFile(file.get(), 0, kPage).value();
  uint8_t byte = 1;
  ASSERT_TRUE(GuardedCopy(&byte, mapped.data(), 1));
  ASSERT_EQ(::ftruncate(file.get(), 0), 0);
  ::madvise(mapped.data(), kPage, MADV_DONTNEED);
  EXPECT_FALSE(GuardedCopy(&byte, mapped.data(), 1));
}

TEST_F(GuardedAccessTest, WorksOnAnyThread) {
  bool copied = true;
  Thread("test", [&] {
    uint8_t byte = 0;
    copied = GuardedCopy(&byte, Last(0), 1);
  }).Join();
  EXPECT_FALSE(copied);
}

// A fault anywhere else is as fatal as ever.
using GuardedAccessDeathTest = GuardedAccessTest;

TEST_F(GuardedAccessDeathTest, OtherFaultsEndTheProcess) {
  EXPECT_DEATH(*static_cast<volatile uint8_t*>(Last(0)) = 1, "");
}

}  // namespace
}  // namespace mayfly
