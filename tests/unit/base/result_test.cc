#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace mayfly {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(ErrorCode::kInvalidArgument, "odd");
  return value / 2;
}

Result<int> Quarter(int value) {
  const int half = TRY(Half(value));
  return TRY(Half(half));
}

Result<void> CheckSmall(int value) {
  if (value > 9) return Fail(ErrorCode::kTooLarge, "large");
  return {};
}

Result<void> CheckBothSmall(int first, int second) {
  TRY(CheckSmall(first));
  TRY(CheckSmall(second));
  return {};
}

TEST(ResultTest, TryReturnsTheValue) { EXPECT_EQ(Quarter(8), 2); }

TEST(ResultTest, TryReturnsTheErrorFromTheFunction) {
  const auto result = Quarter(6);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "odd");
}

TEST(ResultTest, TryGoesOnAfterAResultWithoutAValue) {
  EXPECT_TRUE(CheckBothSmall(1, 2));
  EXPECT_EQ(CheckBothSmall(1, 10).error().code(), ErrorCode::kTooLarge);
}

TEST(ResultTest, TryMovesWhatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto pass_on = [&]() -> Result<std::unique_ptr<int>> {
    auto value = TRY(make());
    return value;
  };
  EXPECT_EQ(**pass_on(), 7);
}

TEST(ErrorTest, FromErrnoNamesTheCause) {
  const Error error = Error::FromErrno("open /x", ENOENT);
  EXPECT_EQ(error.message(), "open /x: No such file or directory");
  EXPECT_EQ(error.errno_value(), ENOENT);
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
}

TEST(ErrorTest, FromErrnoDerivesTheCode) {
  EXPECT_EQ(Error::FromErrno("x", EACCES).code(), ErrorCode::kPermission);
  EXPECT_EQ(Error::FromErrno("x", EPERM).code(), ErrorCode::kPermission);
  EXPECT_EQ(Error::FromErrno("x", ETIMEDOUT).code(), ErrorCode::kTimeout);
  EXPECT_EQ(Error::FromErrno("x", EIO).code(), ErrorCode::kHost);
}

TEST(ErrorTest, ContextReadsFromTheOutsideIn) {
  const Error error = Error(ErrorCode::kCorrupt, "bad").Context("disk0").Context("restore");
  EXPECT_EQ(error.message(), "restore: disk0: bad");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
}

TEST(ErrorTest, WithContextLeavesAValueAlone) {
  EXPECT_EQ(WithContext(Half(4), "x"), 2);
  EXPECT_EQ(WithContext(Half(3), "x").error().message(), "x: odd");
}

}  // namespace
}  // namespace mayfly
