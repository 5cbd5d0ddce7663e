#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace mayfly {
namespace {

UniqueFd OpenNull() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFdTest, DefaultHoldsNothing) {
  const UniqueFd fd;
  EXPECT_FALSE(fd.valid());
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFdTest, DestructorCloses) {
  int number = -1;
  {
    const UniqueFd fd = OpenNull();
    number = fd.get();
    ASSERT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFdTest, MoveTakesTheDescriptor) {
  UniqueFd from = OpenNull();
  const int number = from.get();

  const UniqueFd to = std::move(from);

  // NOLINTNEXTLINE(bugprone-use-after-move,clang-analyzer-cplusplus.Move): what a move leaves.
  EXPECT_FALSE(from.valid());
  EXPECT_EQ(to.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

TEST(UniqueFdTest, MoveAssignmentClosesWhatWasHeld) {
  UniqueFd to = OpenNull();
  UniqueFd from = OpenNull();
  const int old_number = to.get();
  const int new_number = from.get();

  to = std::move(from);

  EXPECT_FALSE(IsOpen(old_number));
  EXPECT_EQ(to.get(), new_number);
}

TEST(UniqueFdTest, ReleaseGivesTheDescriptorUp) {
  UniqueFd fd = OpenNull();

  const UniqueFd released(fd.Release());

  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(IsOpen(released.get()));
}

TEST(UniqueFdTest, DuplicateIsCloseOnExec) {
  const UniqueFd fd = OpenNull();

  const UniqueFd copy = *fd.Duplicate();

  EXPECT_NE(copy.get(), fd.get());
  EXPECT_EQ(::fcntl(copy.get(), F_GETFD), FD_CLOEXEC);
}

TEST(UniqueFdTest, DuplicateOfNothingFails) {
  const auto copy = UniqueFd().Duplicate();
  ASSERT_FALSE(copy);
  EXPECT_EQ(copy.error().errno_value(), EBADF);
}

}  // namespace
}  // namespace mayfly
