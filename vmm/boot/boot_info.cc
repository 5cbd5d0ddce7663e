#include "vmm/boot/boot_info.h"

#include <asm/bootparam.h>
#include <fmt/format.h>

#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

struct MapEntry {
  uint64_t start;
  uint64_t size;
  uint32_t type;
};

constexpr uint32_t kUsable = 1;
constexpr uint32_t kReserved = 2;

std::vector<MapEntry> MemoryMap(const GuestMemory& memory) {
  std::vector<MapEntry> map{
      {0, layout::kLowRamEnd.value, kUsable},
      {layout::kLowRamEnd.value, layout::kHighRam.value - layout::kLowRamEnd.value, kReserved},
  };
  for (const MemoryRegion& region : memory.regions()) {
    const uint64_t skip = region.start.value == 0 ? layout::kHighRam.value : 0;
    map.push_back({region.start.value + skip, region.size - skip, kUsable});
  }
  return map;
}

// hvm_start_info and its tables (Xen, include/public/arch-x86/hvm/start_info.h).
struct HvmStartInfo {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t module_count;
  uint64_t modules;
  uint64_t command_line;
  uint64_t rsdp;
  uint64_t memory_map;
  uint32_t memory_map_entries;
  uint32_t reserved;
};
static_assert(sizeof(HvmStartInfo) == 56);

struct HvmModule {
  uint64_t start;
  uint64_t size;
  uint64_t command_line;
  uint64_t reserved;
};

struct HvmMapEntry {
  uint64_t start;
  uint64_t size;
  uint32_t type;
  uint32_t reserved;
};

constexpr uint32_t kHvmMagic = 0x336ec578;
constexpr uint64_t kHvmModuleOffset = 0x100;
constexpr uint64_t kHvmMapOffset = 0x200;

bool WritePvh(const BootInfo& info, const GuestMemory& memory) {
  const GuestAddress module_address = layout::kPvhStart + kHvmModuleOffset;
  const GuestAddress map_address = layout::kPvhStart + kHvmMapOffset;
  bool written = true;
  const std::vector<MapEntry> map = MemoryMap(memory);
  for (size_t i = 0; i < map.size(); ++i) {
    const HvmMapEntry entry{map[i].start, map[i].size, map[i].type, 0};
    written = written && memory.WriteValue(map_address + i * sizeof(entry), entry);
  }
  HvmStartInfo start{};
  start.magic = kHvmMagic;
  start.version = 1;
  start.command_line = layout::kCommandLine.value;
  start.rsdp = info.rsdp.value;
  start.memory_map = map_address.value;
  start.memory_map_entries = static_cast<uint32_t>(map.size());
  if (info.initrd) {
    start.module_count = 1;
    start.modules = module_address.value;
    const HvmModule module{info.initrd->start.value, info.initrd->size, 0, 0};
    written = written && memory.WriteValue(module_address, module);
  }
  return written && memory.WriteValue(layout::kPvhStart, start);
}

bool WriteZeroPage(const LoadedKernel& kernel, const BootInfo& info, const GuestMemory& memory) {
  static_assert(sizeof(boot_params) == 4096);
  boot_params zero_page{};
  if (kernel.setup_header.empty()) {
    // An ELF kernel has no setup header to copy; these are the fields that Linux looks at.
    zero_page.hdr.boot_flag = 0xaa55;
    zero_page.hdr.header = 0x53726448;
    zero_page.hdr.kernel_alignment = 0x1000000;
  } else {
    std::memcpy(&zero_page.hdr, kernel.setup_header.data(), sizeof(zero_page.hdr));
  }
  constexpr uint8_t kUndefinedLoader = 0xff;
  zero_page.hdr.type_of_loader = kUndefinedLoader;
  zero_page.hdr.loadflags |= LOADED_HIGH;
  zero_page.hdr.cmd_line_ptr = static_cast<uint32_t>(layout::kCommandLine.value);
  zero_page.hdr.cmdline_size = layout::kCommandLineSize - 1;
  zero_page.acpi_rsdp_addr = info.rsdp.value;
  if (info.initrd) {
    zero_page.hdr.ramdisk_image = static_cast<uint32_t>(info.initrd->start.value);
    zero_page.hdr.ramdisk_size = static_cast<uint32_t>(info.initrd->size);
  }
  for (const MapEntry& entry : MemoryMap(memory)) {
    boot_e820_entry& slot = zero_page.e820_table[zero_page.e820_entries++];
    slot.addr = entry.start;
    slot.size = entry.size;
    slot.type = entry.type;
  }
  return memory.WriteValue(layout::kZeroPage, zero_page);
}

}  // namespace

Result<void> WriteBootInfo(const LoadedKernel& kernel, const BootInfo& info,
                           const GuestMemory& memory) {
  if (info.command_line.size() >= layout::kCommandLineSize) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("command line: {} bytes, the limit is {}", info.command_line.size(),
                            layout::kCommandLineSize - 1));
  }
  if (info.command_line.find('\0') != std::string::npos) {
    return Fail(ErrorCode::kInvalidArgument, "command line: holds a NUL byte");
  }
  std::vector<uint8_t> text(info.command_line.begin(), info.command_line.end());
  text.push_back(0);
  const bool written =
      memory.Write(layout::kCommandLine, text) &&
      (kernel.protocol == BootProtocol::kPvh ? WritePvh(info, memory)
                                             : WriteZeroPage(kernel, info, memory));
  if (!written) return Fail(ErrorCode::kInvalidArgument, "guest memory is too small to boot");
  return {};
}

}  // namespace mayfly
