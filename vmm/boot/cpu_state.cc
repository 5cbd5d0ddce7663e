#include "vmm/boot/cpu_state.h"

#include <array>

#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

// Control register and EFER bits (Intel SDM volume 3, section 2.5; AMD APM volume 2, section 3.1).
constexpr uint64_t kCr0ProtectedMode = 1 << 0;
constexpr uint64_t kCr0ExtensionType = 1 << 4;
constexpr uint64_t kCr0Paging = 1ULL << 31;
constexpr uint64_t kCr4PhysicalAddressExtension = 1 << 5;
constexpr uint64_t kEferLongModeEnable = 1 << 8;
constexpr uint64_t kEferLongModeActive = 1 << 10;
constexpr uint64_t kRflagsReserved = 1 << 1;

constexpr uint32_t kMsrMtrrDefaultType = 0x2ff;
constexpr uint64_t kMtrrEnable = 1 << 11;
constexpr uint64_t kMtrrWriteBack = 6;

constexpr uint64_t kPagePresent = 1 << 0;
constexpr uint64_t kPageWritable = 1 << 1;
constexpr uint64_t kPageLarge = 1 << 7;
constexpr uint64_t kIdentityMappedGib = 4;
constexpr uint64_t kEntriesPerTable = 512;
constexpr uint64_t kLargePageSize = 2 << 20;

// Selectors as boot.rst asks for them: __BOOT_CS 0x10, __BOOT_DS 0x18.
constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTaskSelector = 0x20;

constexpr uint8_t kTypeCode = 0xb;  // Execute, read, accessed
constexpr uint8_t kTypeData = 0x3;  // Read, write, accessed
constexpr uint8_t kTypeTask = 0xb;  // Busy TSS

kvm_segment Flat(uint16_t selector, uint8_t type) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  return segment;
}

kvm_segment CodeSegment(BootProtocol protocol) {
  kvm_segment segment = Flat(kCodeSelector, kTypeCode);
  segment.l = protocol == BootProtocol::kLinux64 ? 1 : 0;
  segment.db = protocol == BootProtocol::kLinux64 ? 0 : 1;
  return segment;
}

kvm_segment DataSegment() {
  kvm_segment segment = Flat(kDataSelector, kTypeData);
  segment.db = 1;
  return segment;
}

kvm_segment TaskSegment() {
  kvm_segment segment{};
  segment.limit = 0x67;
  segment.selector = kTaskSelector;
  segment.type = kTypeTask;
  segment.present = 1;
  return segment;
}

// The descriptor in the GDT that a segment register's hidden part was loaded from.
uint64_t Descriptor(const kvm_segment& segment) {
  const uint64_t limit = segment.g != 0 ? segment.limit >> 12 : segment.limit;
  const uint64_t flags = uint64_t{segment.type} | uint64_t{segment.s} << 4 |
                         uint64_t{segment.dpl} << 5 | uint64_t{segment.present} << 7 |
                         uint64_t{segment.l} << 13 | uint64_t{segment.db} << 14 |
                         uint64_t{segment.g} << 15;
  return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | flags << 40 |
         (limit & 0xf0000) << 32 | (segment.base & 0xff000000) << 32;
}

bool WriteIdentityMap(const GuestMemory& memory) {
  // One PML4 page, one PDPT page, then a page directory for each GiB.
  const GuestAddress pml4 = layout::kPageTables;
  const GuestAddress pdpt = pml4 + GuestMemory::kPageSize;
  const GuestAddress directories = pdpt + GuestMemory::kPageSize;
  constexpr uint64_t kTable = kPagePresent | kPageWritable;

  bool written = memory.WriteValue(pml4, pdpt.value | kTable);
  for (uint64_t gib = 0; gib < kIdentityMappedGib; ++gib) {
    const GuestAddress directory = directories + gib * GuestMemory::kPageSize;
    written = written && memory.WriteValue(pdpt + gib * 8, directory.value | kTable);
    std::array<uint64_t, kEntriesPerTable> entries;
    for (uint64_t i = 0; i < kEntriesPerTable; ++i) {
      entries[i] = (gib * kEntriesPerTable + i) * kLargePageSize | kTable | kPageLarge;
    }
    written = written && memory.WriteValue(directory, entries);
  }
  return written;
}

}  // namespace

Result<void> WriteCpuTables(BootProtocol protocol, const GuestMemory& memory) {
  const std::array<uint64_t, 5> gdt{0, 0, Descriptor(CodeSegment(protocol)),
                                    Descriptor(DataSegment()), Descriptor(TaskSegment())};
  const bool written = memory.WriteValue(layout::kGdt, gdt) &&
                       (protocol == BootProtocol::kPvh || WriteIdentityMap(memory));
  if (!written) return Fail(ErrorCode::kInvalidArgument, "guest memory is too small to boot");
  return {};
}

Result<void> SetBootState(const Vcpu& vcpu, const LoadedKernel& kernel) {
  kvm_sregs system = TRY(vcpu.GetSystemRegisters());
  system.cs = CodeSegment(kernel.protocol);
  system.ds = system.es = system.fs = system.gs = system.ss = DataSegment();
  system.tr = TaskSegment();
  system.gdt.base = layout::kGdt.value;
  system.gdt.limit = 5 * sizeof(uint64_t) - 1;
  system.idt = {};
  system.cr0 = kCr0ProtectedMode | kCr0ExtensionType;
  system.cr4 = 0;
  system.efer = 0;

  kvm_regs registers{};
  registers.rflags = kRflagsReserved;
  registers.rip = kernel.entry.value;
  if (kernel.protocol == BootProtocol::kPvh) {
    registers.rbx = layout::kPvhStart.value;
  } else {
    system.cr3 = layout::kPageTables.value;
    system.cr4 = kCr4PhysicalAddressExtension;
    system.cr0 |= kCr0Paging;
    system.efer = kEferLongModeEnable | kEferLongModeActive;
    registers.rsi = layout::kZeroPage.value;
  }
  TRY(vcpu.SetSystemRegisters(system));
  TRY(vcpu.SetRegisters(registers));
  // Without this Linux finds its RAM uncacheable by the MTRRs, and says so.
  const std::array<kvm_msr_entry, 1> msrs{{{kMsrMtrrDefaultType, 0, kMtrrEnable | kMtrrWriteBack}}};
  return vcpu.SetMsrs(msrs);
}

}  // namespace mayfly
