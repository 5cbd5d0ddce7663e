#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

// <linux/kvm.h> in C++: with the headers of Debian 12 every structure that ends in a flexible array
// gets the wrong size, and so the wrong ioctl number (the macro __DECLARE_FLEX_ARRAY adds an empty
// struct, which has a size of 1 in C++). So those structures, and the requests whose number holds
// their size, are declared here once more, with the sizes that the kernel means.
namespace mayfly::abi {

template <class Entry, uint32_t kCapacity>
struct CountedList {
  static constexpr uint32_t kSize = kCapacity;

  uint32_t count;
  uint32_t padding;
  Entry entries[kCapacity];
};

using CpuidList = CountedList<kvm_cpuid_entry2, 256>;
using MsrEntries = CountedList<kvm_msr_entry, 256>;
using IrqRouting = CountedList<kvm_irq_routing_entry, 64>;

// KVM_GET_MSR_INDEX_LIST. Its header is not padded.
struct MsrIndexList {
  static constexpr uint32_t kSize = MsrEntries::kSize;

  uint32_t count;
  uint32_t indices[kSize];
};
static_assert(offsetof(MsrIndexList, indices) == 4);

// KVM_GET_XSAVE. Larger states (AMX) have a request of their own, and are not offered to guests.
struct Xsave {
  uint8_t region[4096];
};
static_assert(sizeof(Xsave) == 4096);

static_assert(offsetof(CpuidList, entries) == 8);
static_assert(offsetof(MsrEntries, entries) == 8);
static_assert(offsetof(IrqRouting, entries) == 8);
static_assert(sizeof(kvm_cpuid_entry2) == 40);
static_assert(sizeof(kvm_msr_entry) == 16);
static_assert(sizeof(kvm_irq_routing_entry) == 48);
static_assert(sizeof(kvm_regs) == 144);
static_assert(sizeof(kvm_sregs) == 312);
static_assert(sizeof(kvm_lapic_state) == 1024);

inline constexpr unsigned kListHeaderSize = 8;
inline constexpr unsigned long kGetSupportedCpuid =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kListHeaderSize);
inline constexpr unsigned long kGetMsrIndexList =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x02, sizeof(uint32_t));
inline constexpr unsigned long kSetGsiRouting = _IOC(_IOC_WRITE, KVMIO, 0x6a, kListHeaderSize);
inline constexpr unsigned long kGetMsrs =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kListHeaderSize);
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kListHeaderSize);
inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kListHeaderSize);
inline constexpr unsigned long kGetCpuid2 =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x91, kListHeaderSize);
inline constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, sizeof(Xsave));
inline constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, sizeof(Xsave));

}  // namespace mayfly::abi
