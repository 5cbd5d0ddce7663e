#include "vmm/boot/acpi.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "base/file.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

// The tables as a guest finds them: from the RSDP, by address.
class AcpiTest : public testing::Test {
 protected:
  static constexpr AcpiPowerPorts kPower{0x600, 0x601, 0x602, 1, 5};

  void Write(const AcpiDevices& devices) {
    memory_ = GuestMemory::Create(64 << 20).value();
    const auto rsdp = WriteAcpiTables(devices, kPower, *memory_);
    ASSERT_TRUE(rsdp) << rsdp.error().message();
    rsdp_ = Bytes(*rsdp, 36);
  }

  std::vector<uint8_t> Bytes(GuestAddress address, size_t size) {
    std::vector<uint8_t> bytes(size);
    EXPECT_TRUE(memory_->Read(address, bytes));
    return bytes;
  }

  std::vector<uint8_t> Table(uint64_t address) {
    uint32_t length = 0;
    EXPECT_TRUE(memory_->ReadValue(GuestAddress{address + 4}, &length));
    return Bytes(GuestAddress{address}, length);
  }

  static uint64_t AddressIn(const std::vector<uint8_t>& table, size_t offset) {
    return LoadLe<uint64_t>(std::span(table).subspan(offset));
  }

  std::vector<uint8_t> Xsdt() { return Table(AddressIn(rsdp_, 24)); }
  std::vector<uint8_t> Fadt() { return Table(AddressIn(Xsdt(), 36)); }
  std::vector<uint8_t> Madt() { return Table(AddressIn(Xsdt(), 44)); }
  std::vector<uint8_t> Dsdt() { return Table(AddressIn(Fadt(), 140)); }

  static int Sum(std::span<const uint8_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0) & 0xff;
  }

  std::unique_ptr<GuestMemory> memory_;
  std::vector<uint8_t> rsdp_;
};

TEST_F(AcpiTest, EveryTableSumsUpToZero) {
  Write({.vcpu_count = 2, .virtio = {{0xd0000000, 0x1000, 5}}, .serial = true});
  EXPECT_EQ(Sum(std::span(rsdp_).first(20)), 0);
  EXPECT_EQ(Sum(rsdp_), 0);
  EXPECT_EQ(Sum(Xsdt()), 0);
  EXPECT_EQ(Sum(Fadt()), 0);
  EXPECT_EQ(Sum(Madt()), 0);
  EXPECT_EQ(Sum(Dsdt()), 0);
}

TEST_F(AcpiTest, FadtIsHardwareReducedWithPowerRegisters) {
  Write({});
  const auto fadt = Fadt();
  EXPECT_EQ(AsText(std::span(fadt).first(4)), "FACP");
  EXPECT_NE(LoadLe<uint32_t>(std::span(fadt).subspan(112)) & 1U << 20, 0);
  EXPECT_EQ(LoadLe<uint64_t>(std::span(fadt).subspan(116 + 4)), kPower.reset);
  EXPECT_EQ(LoadLe<uint64_t>(std::span(fadt).subspan(244 + 4)), kPower.sleep_control);
}

TEST_F(AcpiTest, MadtListsEveryVcpuAndTheIoapic) {
  Write({.vcpu_count = 4, .virtio = {}, .serial = false});
  EXPECT_EQ(Madt().size(), 44 + 4 * 8 + 12);
}

// iasl is the reference implementation: it refuses what it cannot parse.
TEST_F(AcpiTest, DsdtOf32VcpusAndAllDevicesDisassembles) {
  AcpiDevices devices{.vcpu_count = 32,
                      .virtio = {},
                      .serial = true,
                      .generation = AcpiGeneration{layout::kGenerationId, layout::kGenerationGsi}};
  for (uint32_t i = 0; i < layout::kMaxVirtioDevices; ++i) {
    devices.virtio.push_back({0xd0000000 + i * 0x1000, 0x1000, layout::kFirstVirtioGsi + i});
  }
  Write(devices);
  const std::string directory = testing::TempDir() + "/mayfly-acpi-test";
  std::filesystem::create_directory(directory);
  const auto dsdt = Dsdt();
  std::ofstream(directory + "/dsdt.aml", std::ios::binary)
      .write(reinterpret_cast<const char*>(dsdt.data()), static_cast<std::streamsize>(dsdt.size()));
  const int status =
      std::system(("cd " + directory + " && iasl -d dsdt.aml >log 2>&1").c_str());  // NOLINT
  std::string source;
  {
    std::ifstream file(directory + "/dsdt.dsl");
    source.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::filesystem::remove_all(directory);
  ASSERT_EQ(status, 0);
  EXPECT_NE(source.find("Device (C01F)"), std::string::npos);
  EXPECT_NE(source.find("EisaId (\"PNP0501\")"), std::string::npos);
  EXPECT_NE(source.find("Name (_HID, \"LNRO0005\")"), std::string::npos);
  EXPECT_NE(source.find("0xD0012000"), std::string::npos);
  EXPECT_NE(source.find("Name (_CID, \"VM_Gen_Counter\")"), std::string::npos);
  EXPECT_NE(source.find("0x000DF100"), std::string::npos);
  EXPECT_NE(source.find("Method (_EVT, 1, Serialized)"), std::string::npos);
  EXPECT_NE(source.find("Notify (VGEN, 0x80)"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
