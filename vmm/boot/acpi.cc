#include "vmm/boot/acpi.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "vmm/boot/aml.h"
#include "vmm/boot/layout.h"

// Table layouts: ACPI 6.5, section 5.2.
namespace mayfly {
namespace {

struct [[gnu::packed]] TableHeader {
  char signature[4];
  uint32_t length;
  uint8_t revision;
  uint8_t checksum;
  char oem_id[6];
  char oem_table_id[8];
  uint32_t oem_revision;
  char creator_id[4];
  uint32_t creator_revision;
};
static_assert(sizeof(TableHeader) == 36);

struct [[gnu::packed]] GenericAddress {
  uint8_t space;
  uint8_t bit_width;
  uint8_t bit_offset;
  uint8_t access_size;
  uint64_t address;
};
constexpr uint8_t kSystemIo = 1;
constexpr uint8_t kByteAccess = 1;

struct [[gnu::packed]] Fadt {
  TableHeader header;
  uint8_t before_boot_flags[109 - 36];
  uint16_t boot_architecture_flags;
  uint8_t reserved;
  uint32_t flags;
  GenericAddress reset_register;
  uint8_t reset_value;
  uint16_t arm_boot_flags;
  uint8_t minor_version;
  uint64_t x_firmware_control;
  uint64_t x_dsdt;
  uint8_t legacy_blocks[244 - 148];
  GenericAddress sleep_control;
  GenericAddress sleep_status;
  uint64_t hypervisor_id;
};
static_assert(sizeof(Fadt) == 276);
static_assert(offsetof(Fadt, flags) == 112);
static_assert(offsetof(Fadt, x_dsdt) == 140);
static_assert(offsetof(Fadt, sleep_control) == 244);

constexpr uint32_t kFadtWriteBackFlush = 1 << 0;
constexpr uint32_t kFadtNoPowerButton = 1 << 4;
constexpr uint32_t kFadtNoSleepButton = 1 << 5;
constexpr uint32_t kFadtResetRegister = 1 << 10;
constexpr uint32_t kFadtHardwareReduced = 1 << 20;
constexpr uint16_t kBootNoVga = 1 << 2;
constexpr uint16_t kBootNoMsi = 0;
constexpr uint16_t kBootNoAspm = 1 << 4;
constexpr uint16_t kBootNoCmosRtc = 1 << 5;

struct [[gnu::packed]] MadtLocalApic {
  uint8_t type = 0;
  uint8_t length = 8;
  uint8_t processor_uid;
  uint8_t apic_id;
  uint32_t flags = 1;  // Enabled
};

struct [[gnu::packed]] MadtIoapic {
  uint8_t type = 1;
  uint8_t length = 12;
  uint8_t id = 0;
  uint8_t reserved = 0;
  uint32_t address;
  uint32_t gsi_base = 0;
};

struct [[gnu::packed]] Rsdp {
  char signature[8];
  uint8_t checksum;
  char oem_id[6];
  uint8_t revision;
  uint32_t rsdt;
  uint32_t length;
  uint64_t xsdt;
  uint8_t extended_checksum;
  uint8_t reserved[3];
};
static_assert(sizeof(Rsdp) == 36);
constexpr size_t kRsdpFirstPart = 20;

// The byte that makes the sum of all bytes zero.
uint8_t Checksum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0U));
}

TableHeader Header(std::string_view signature, uint8_t revision) {
  TableHeader header{};
  std::ranges::copy(signature, header.signature);
  header.revision = revision;
  std::ranges::copy(std::string_view("MAYFLY"), header.oem_id);
  std::ranges::copy(std::string_view("MAYFLYVM"), header.oem_table_id);
  header.oem_revision = 1;
  std::ranges::copy(std::string_view("MFLY"), header.creator_id);
  header.creator_revision = 1;
  return header;
}

// Fills in length and checksum of a table whose first bytes are its header.
std::vector<uint8_t> Finish(std::vector<uint8_t> table) {
  StoreLe(std::span(table).subspan(offsetof(TableHeader, length)),
          static_cast<uint32_t>(table.size()));
  table[offsetof(TableHeader, checksum)] = 0;
  table[offsetof(TableHeader, checksum)] = Checksum(table);
  return table;
}

GenericAddress IoRegister(uint16_t port) { return {kSystemIo, 8, 0, kByteAccess, port}; }

// "VM_Gen_Counter" (Microsoft, "Virtual Machine Generation ID") and a generic event device
// (ACPI 6.5, section 5.6.9), by which hardware-reduced ACPI turns an interrupt into a notification.
aml::Bytes GenerationDevices(const AcpiGeneration& generation) {
  constexpr uint8_t kGenerationChanged = 0x80;
  const uint64_t address = generation.address.value;
  const aml::Bytes counter = aml::Device(
      "VGEN",
      aml::Concat({aml::Name("_HID", aml::String("MFLY0001")),
                   aml::Name("_CID", aml::String("VM_Gen_Counter")),
                   aml::Name("_DDN", aml::String("VM_Gen_Counter")),
                   aml::Name("ADDR", aml::Package({address & 0xffffffff, address >> 32}))}));
  const aml::Bytes resources = aml::EdgeInterrupt(generation.gsi);
  const aml::Bytes events = aml::Device(
      "GED0",
      aml::Concat({aml::Name("_HID", aml::String("ACPI0013")), aml::Name("_UID", aml::Integer(0)),
                   aml::Name("_CRS", aml::ResourceTemplate(resources)),
                   aml::Method("_EVT", 1, aml::Notify("VGEN", kGenerationChanged))}));
  return aml::Concat({counter, events});
}

std::vector<uint8_t> Dsdt(const AcpiDevices& devices, const AcpiPowerPorts& power) {
  aml::Bytes on_bus;
  const auto add = [&](std::span<const uint8_t> device) {
    on_bus.insert(on_bus.end(), device.begin(), device.end());
  };
  for (uint32_t i = 0; i < devices.vcpu_count; ++i) {
    add(aml::Device(fmt::format("C{:03X}", i),
                    aml::Concat({aml::Name("_HID", aml::String("ACPI0007")),
                                 aml::Name("_UID", aml::Integer(i))})));
  }
  if (devices.serial) {
    const aml::Bytes resources =
        aml::Concat({aml::IoPort(layout::kSerialPort, 8), aml::EdgeInterrupt(layout::kSerialGsi)});
    add(aml::Device("COM1", aml::Concat({aml::Name("_HID", aml::EisaId("PNP0501")),
                                         aml::Name("_UID", aml::Integer(0)),
                                         aml::Name("_CRS", aml::ResourceTemplate(resources))})));
  }
  for (size_t i = 0; i < devices.virtio.size(); ++i) {
    const VirtioMmioSlot& slot = devices.virtio[i];
    const aml::Bytes resources =
        aml::Concat({aml::Memory32Fixed(slot.base, slot.size), aml::EdgeInterrupt(slot.gsi)});
    add(aml::Device(
        fmt::format("VR{:02X}", i),
        aml::Concat({aml::Name("_HID", aml::String("LNRO0005")), aml::Name("_UID", aml::Integer(i)),
                     aml::Name("_CCA", aml::Integer(1)),
                     aml::Name("_CRS", aml::ResourceTemplate(resources))})));
  }
  if (devices.generation) add(GenerationDevices(*devices.generation));
  const aml::Bytes sleep = aml::Name("\\_S5_", aml::Package({power.s5_type, 0, 0, 0}));
  return Finish(aml::Concat({BytesOf(Header("DSDT", 6)), sleep, aml::Scope("\\_SB_", on_bus)}));
}

std::vector<uint8_t> FadtTable(GuestAddress dsdt, const AcpiPowerPorts& power) {
  Fadt fadt{};
  fadt.header = Header("FACP", 6);
  fadt.boot_architecture_flags = kBootNoVga | kBootNoMsi | kBootNoAspm | kBootNoCmosRtc;
  fadt.flags = kFadtWriteBackFlush | kFadtNoPowerButton | kFadtNoSleepButton | kFadtResetRegister |
               kFadtHardwareReduced;
  fadt.reset_register = IoRegister(power.reset);
  fadt.reset_value = power.reset_value;
  fadt.minor_version = 5;
  fadt.x_dsdt = dsdt.value;
  fadt.sleep_control = IoRegister(power.sleep_control);
  fadt.sleep_status = IoRegister(power.sleep_status);
  return Finish(aml::Concat({BytesOf(fadt)}));
}

std::vector<uint8_t> Madt(uint32_t vcpu_count) {
  const uint32_t local_apic = layout::kLocalApic;
  const uint32_t flags = 0;  // No PIC.
  aml::Bytes table = aml::Concat({BytesOf(Header("APIC", 6)), BytesOf(local_apic), BytesOf(flags)});
  for (uint32_t i = 0; i < vcpu_count; ++i) {
    MadtLocalApic entry{};
    entry.processor_uid = static_cast<uint8_t>(i);
    entry.apic_id = static_cast<uint8_t>(i);
    table = aml::Concat({table, BytesOf(entry)});
  }
  MadtIoapic ioapic{};
  ioapic.address = layout::kIoapic;
  return Finish(aml::Concat({table, BytesOf(ioapic)}));
}

Rsdp MakeRsdp(GuestAddress xsdt) {
  Rsdp rsdp{};
  std::ranges::copy(std::string_view("RSD PTR "), rsdp.signature);
  std::ranges::copy(std::string_view("MAYFLY"), rsdp.oem_id);
  rsdp.revision = 2;
  rsdp.length = sizeof(rsdp);
  rsdp.xsdt = xsdt.value;
  rsdp.checksum = Checksum(BytesOf(rsdp).first(kRsdpFirstPart));
  rsdp.extended_checksum = Checksum(BytesOf(rsdp));
  return rsdp;
}

}  // namespace

Result<GuestAddress> WriteAcpiTables(const AcpiDevices& devices, const AcpiPowerPorts& power,
                                     const GuestMemory& memory) {
  // The RSDP comes first, the tables behind it, each on a 16-byte boundary.
  const GuestAddress rsdp = layout::kAcpi;
  GuestAddress next = rsdp + 64;
  bool written = true;
  const auto place = [&](std::span<const uint8_t> table) {
    const GuestAddress address = next;
    next = GuestAddress{AlignUp<uint64_t>(address.value + table.size(), 16)};
    written = written && next <= layout::kHighRam && memory.Write(address, table);
    return address;
  };
  const GuestAddress dsdt = place(Dsdt(devices, power));
  const GuestAddress fadt = place(FadtTable(dsdt, power));
  const GuestAddress madt = place(Madt(devices.vcpu_count));
  const GuestAddress xsdt = place(
      Finish(aml::Concat({BytesOf(Header("XSDT", 1)), BytesOf(fadt.value), BytesOf(madt.value)})));
  if (!written || !memory.WriteValue(rsdp, MakeRsdp(xsdt))) {
    return Fail(ErrorCode::kInvalidArgument, "guest memory is too small for the ACPI tables");
  }
  return rsdp;
}

}  // namespace mayfly
