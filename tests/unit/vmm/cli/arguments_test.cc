#include "vmm/cli/arguments.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

std::string MemoryFault(std::string_view text) {
  return MessageOf(ParseMemoryMib(text, 64, 65536));
}

TEST(ArgumentsTest, MemoryHasSuffixes) {
  EXPECT_EQ(*ParseMemoryMib("256", 64, 65536), 256u);
  EXPECT_EQ(*ParseMemoryMib("256M", 64, 65536), 256u);
  EXPECT_EQ(*ParseMemoryMib("256MiB", 64, 65536), 256u);
  EXPECT_EQ(*ParseMemoryMib("5G", 64, 65536), 5120u);
  EXPECT_EQ(*ParseMemoryMib("64GiB", 64, 65536), 65536u);
}

TEST(ArgumentsTest, OtherMemoryIsRefused) {
  EXPECT_EQ(MemoryFault("63"), "\"63\": expected a size such as 512M or 2G, from 64M to 65536M");
  EXPECT_TRUE(Mentions(MemoryFault("65537"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault(""), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("M"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("-128M"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("+128M"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault(" 128M"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("128 M"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("128m"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("1.5G"), "expected a size"));
  EXPECT_TRUE(Mentions(MemoryFault("0x80"), "expected a size"));
}

TEST(ArgumentsTest, MemoryThatOverflowsIsRefused) {
  EXPECT_TRUE(Mentions(MemoryFault("18446744073709551616"), "expected a size"));
  // Times 1024 this is 128 modulo 2^64.
  EXPECT_TRUE(Mentions(MemoryFault("18014398509481985G"), "expected a size"));
}

TEST(ArgumentsTest, TimesHaveSuffixes) {
  EXPECT_EQ(*ParseDurationMs("3", 1, 900'000), 3000u);
  EXPECT_EQ(*ParseDurationMs("3s", 1, 900'000), 3000u);
  EXPECT_EQ(*ParseDurationMs("1ms", 1, 900'000), 1u);
  EXPECT_EQ(*ParseDurationMs("15m", 1, 900'000), 900'000u);
}

TEST(ArgumentsTest, OtherTimesAreRefused) {
  EXPECT_EQ(MessageOf(ParseDurationMs("0", 1, 900'000)),
            "\"0\": expected a time such as 3s or 500ms, from 1ms to 900s");
  EXPECT_EQ(CodeOf(ParseDurationMs("901s", 1, 900'000)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(ParseDurationMs("1h", 1, 900'000)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(ParseDurationMs("99999999999999999999", 1, 900'000)),
            ErrorCode::kInvalidArgument);
}

TEST(ArgumentsTest, CountsArePlainNumbers) {
  EXPECT_EQ(*ParseCount("32", 1, 32), 32u);
  EXPECT_EQ(MessageOf(ParseCount("33", 1, 32)), "\"33\": expected a number from 1 to 32");
  EXPECT_EQ(CodeOf(ParseCount("0", 1, 32)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(ParseCount("1x", 1, 32)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(ParseCount("", 1, 32)), ErrorCode::kInvalidArgument);
}

TEST(ArgumentsTest, MoreMemoryThanTheHostsIsRefused) {
  EXPECT_TRUE(CheckHostMemory(64));
  EXPECT_EQ(CodeOf(CheckHostMemory(uint64_t{1} << 30)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(CheckHostMemory(uint64_t{1} << 30)), "this host has"));
}

TEST(ArgumentsTest, CommandLineIsBounded) {
  EXPECT_TRUE(CheckCommandLine(std::string(2047, 'x')));
  EXPECT_EQ(MessageOf(CheckCommandLine(std::string(2048, 'x'))),
            "kernel command line: 2048 bytes, 2047 are the most allowed");
  EXPECT_FALSE(CheckCommandLine("a\nb"));
  EXPECT_FALSE(CheckCommandLine(std::string_view("a\0b", 3)));
}

TEST(ArgumentsTest, SocketPathLeavesRoomForAPort) {
  EXPECT_TRUE(CheckSocketPath(std::string(96, 'x')));
  EXPECT_TRUE(Mentions(MessageOf(CheckSocketPath(std::string(97, 'x'))), "97 bytes, 96 are the"));
  EXPECT_TRUE(Mentions(MessageOf(CheckSocketPath(std::string(108, 'x'))), "108 bytes"));
  EXPECT_FALSE(CheckSocketPath(""));
}

}  // namespace
}  // namespace mayfly
