#include "jailer/jail_id.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

TEST(JailIdTest, IsOneComponentOfAPath) {
  EXPECT_TRUE(JailId::Parse("vm-1_A"));
  EXPECT_TRUE(JailId::Parse(std::string(64, 'a')));
}

TEST(JailIdTest, HostileNamesAreRefused) {
  using std::string_view_literals::operator""sv;
  EXPECT_FALSE(JailId::Parse(""));
  EXPECT_FALSE(JailId::Parse("../x"));
  EXPECT_FALSE(JailId::Parse("a/b"));
  EXPECT_FALSE(JailId::Parse("."));
  EXPECT_FALSE(JailId::Parse(".."));
  EXPECT_FALSE(JailId::Parse("a\0b"sv));
  EXPECT_FALSE(JailId::Parse(std::string(65, 'a')));
  EXPECT_FALSE(JailId::Parse("caf\xc3\xa9"));
  EXPECT_FALSE(JailId::Parse("-rf"));
  EXPECT_FALSE(JailId::Parse("a b"));
  EXPECT_FALSE(JailId::Parse("a\n"));
}

TEST(JailIdTest, TheNameOfThisProcessIsAValidOne) {
  EXPECT_TRUE(JailId::Parse(JailId::OfThisProcess().text()));
}

}  // namespace
}  // namespace mayfly
