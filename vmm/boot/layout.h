#pragma once

#include <cstdint>

#include "base/restore_page.h"
#include "vmm/memory/guest_memory.h"

// Where things stand in the guest's physical address space.
//
//   0x0000_0500  GDT                        0xcfff_f000  doorbell
//   0x0000_6000  PVH start information      0xd000_0000  virtio-mmio, 4 KiB each
//   0x0000_7000  zero page (boot_params)    0xfec0_0000  IOAPIC
//   0x0000_9000  page tables                0xfee0_0000  local APICs
//   0x0002_0000  command line               0xfffb_d000  3 pages for KVM (Intel real mode)
//   0x0009_fc00  end of low RAM for the kernel
//   0x000d_e000  restore page
//   0x000d_f100  generation id
//   0x000e_0000  ACPI tables, up to 1 MiB
//   0x0010_0000  kernel (bzImage: where its header prefers), initrd at the top below 3 GiB
namespace mayfly::layout {

inline constexpr GuestAddress kGdt{0x500};
inline constexpr GuestAddress kPvhStart{0x6000};
inline constexpr GuestAddress kZeroPage{0x7000};
inline constexpr GuestAddress kPageTables{0x9000};
inline constexpr GuestAddress kCommandLine{0x20000};
// COMMAND_LINE_SIZE of x86 Linux, its terminating zero included.
inline constexpr uint64_t kCommandLineSize = 2048;
inline constexpr GuestAddress kLowRamEnd{0x9fc00};
// In memory that is reserved for the guest, and not where it looks for option ROMs.
inline constexpr GuestAddress kGenerationId{0xdf100};
inline constexpr GuestAddress kRestorePage{kRestorePageAddress};
inline constexpr GuestAddress kAcpi{0xe0000};
inline constexpr GuestAddress kHighRam{0x100000};

inline constexpr uint64_t kDoorbell = kDoorbellAddress;
inline constexpr uint64_t kVirtioMmio = 0xd0000000;
inline constexpr uint64_t kVirtioMmioStride = 0x1000;
inline constexpr uint64_t kIoapic = 0xfec00000;
inline constexpr uint64_t kIoapicSize = 0x1000;
inline constexpr uint64_t kLocalApic = 0xfee00000;
inline constexpr uint64_t kTss = 0xfffbd000;

inline constexpr uint64_t kSerialPort = 0x3f8;
inline constexpr uint64_t kI8042Port = 0x64;
inline constexpr uint64_t kAcpiPmPort = 0x600;

inline constexpr uint32_t kGenerationGsi = 3;
inline constexpr uint32_t kSerialGsi = 4;
inline constexpr uint32_t kFirstVirtioGsi = 5;
inline constexpr uint32_t kIoapicPins = 24;
inline constexpr uint32_t kMaxVirtioDevices = kIoapicPins - kFirstVirtioGsi;

}  // namespace mayfly::layout
