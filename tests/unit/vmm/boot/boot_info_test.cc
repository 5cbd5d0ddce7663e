#include "vmm/boot/boot_info.h"

#include <asm/bootparam.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

constexpr uint64_t kGib = 1ULL << 30;

LoadedKernel Kernel(BootProtocol protocol) {
  return {protocol, layout::kHighRam, GuestAddress{2 << 20}, GuestMemory::kHoleStart, {}};
}

template <class T>
T ReadAt(const GuestMemory& memory, GuestAddress address) {
  T value{};
  EXPECT_TRUE(memory.ReadValue(address, &value));
  return value;
}

TEST(BootInfoTest, ZeroPageDescribesMemoryOnBothSidesOfTheHole) {
  const auto memory = GuestMemory::Create(5 * kGib).value();
  ASSERT_TRUE(
      WriteBootInfo(Kernel(BootProtocol::kLinux64), {"quiet", std::nullopt, {0xe0000}}, *memory));
  const auto zero_page = ReadAt<boot_params>(*memory, layout::kZeroPage);
  ASSERT_EQ(zero_page.e820_entries, 4);
  EXPECT_EQ(zero_page.e820_table[2].addr, 0x100000);
  EXPECT_EQ(zero_page.e820_table[2].size, 3 * kGib - 0x100000);
  EXPECT_EQ(zero_page.e820_table[3].addr, 4 * kGib);
  EXPECT_EQ(zero_page.e820_table[3].size, 2 * kGib);
  EXPECT_EQ(zero_page.acpi_rsdp_addr, 0xe0000);
}

TEST(BootInfoTest, ZeroPageHoldsTheInitrdAndTheCommandLine) {
  const auto memory = GuestMemory::Create(64 << 20).value();
  ASSERT_TRUE(WriteBootInfo(Kernel(BootProtocol::kLinux64),
                            {"quiet", InitrdLocation{{0x2000000}, 77}, {}}, *memory));
  const auto zero_page = ReadAt<boot_params>(*memory, layout::kZeroPage);
  EXPECT_EQ(zero_page.hdr.ramdisk_image, 0x2000000);
  EXPECT_EQ(zero_page.hdr.ramdisk_size, 77);
  const auto text = ReadAt<std::array<char, 6>>(*memory, {zero_page.hdr.cmd_line_ptr});
  EXPECT_STREQ(text.data(), "quiet");
}

TEST(BootInfoTest, PvhStartInfoHoldsTheInitrdAsItsModule) {
  const auto memory = GuestMemory::Create(64 << 20).value();
  ASSERT_TRUE(WriteBootInfo(Kernel(BootProtocol::kPvh),
                            {"quiet", InitrdLocation{{0x2000000}, 77}, {0xe0000}}, *memory));
  EXPECT_EQ(ReadAt<uint32_t>(*memory, layout::kPvhStart), 0x336ec578);
  EXPECT_EQ(ReadAt<uint32_t>(*memory, layout::kPvhStart + 12), 1);  // Modules
  const auto module = ReadAt<uint64_t>(*memory, layout::kPvhStart + 16);
  EXPECT_EQ(ReadAt<uint64_t>(*memory, {module}), 0x2000000);
  EXPECT_EQ(ReadAt<uint64_t>(*memory, {module + 8}), 77);
  EXPECT_EQ(ReadAt<uint64_t>(*memory, layout::kPvhStart + 32), 0xe0000);  // RSDP
}

TEST(BootInfoTest, CommandLineOf2047BytesFits) {
  const auto memory = GuestMemory::Create(64 << 20).value();
  EXPECT_TRUE(WriteBootInfo(Kernel(BootProtocol::kPvh), {std::string(2047, 'a'), {}, {}}, *memory));
}

TEST(BootInfoTest, CommandLineOf2048BytesIsRefused) {
  const auto memory = GuestMemory::Create(64 << 20).value();
  const auto written =
      WriteBootInfo(Kernel(BootProtocol::kPvh), {std::string(2048, 'a'), {}, {}}, *memory);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().message(), "command line: 2048 bytes, the limit is 2047");
}

TEST(BootInfoTest, CommandLineWithANulIsRefused) {
  const auto memory = GuestMemory::Create(64 << 20).value();
  EXPECT_FALSE(
      WriteBootInfo(Kernel(BootProtocol::kPvh), {std::string("a\0b", 3), {}, {}}, *memory));
}

}  // namespace
}  // namespace mayfly
