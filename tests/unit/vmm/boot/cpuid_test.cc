#include "vmm/boot/cpuid.h"

#include <gtest/gtest.h>

#include <memory>

namespace mayfly {
namespace {

kvm_cpuid_entry2 Normalised(kvm_cpuid_entry2 entry, const CpuidOptions& options) {
  auto list = std::make_unique<abi::CpuidList>();
  list->count = 1;
  list->entries[0] = entry;
  NormaliseCpuid(*list, options);
  return list->entries[0];
}

kvm_cpuid_entry2 Leaf(uint32_t function, uint32_t index = 0) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.index = index;
  entry.eax = entry.ebx = entry.ecx = entry.edx = 0xffffffff;
  return entry;
}

TEST(CpuidTest, Leaf1NamesTheApicIdAndTheNumberOfCores) {
  const auto entry =
      Normalised(Leaf(1), {.vcpu_id = 3, .vcpu_count = 4, .tsc_deadline_timer = true});
  EXPECT_EQ(entry.ebx >> 24, 3);
  EXPECT_EQ(entry.ebx >> 16 & 0xff, 4);
}

TEST(CpuidTest, VirtualisationIsHiddenFromTheGuest) {
  const CpuidOptions options{.vcpu_id = 0, .vcpu_count = 1, .tsc_deadline_timer = false};
  EXPECT_EQ(Normalised(Leaf(1), options).ecx & 1U << 5, 0);
  EXPECT_EQ(Normalised(Leaf(0x80000001), options).ecx & 1U << 2, 0);
  EXPECT_EQ(Normalised(Leaf(0x8000000a), options).edx, 0);
}

TEST(CpuidTest, HypervisorBitIsSet) {
  kvm_cpuid_entry2 entry = Leaf(1);
  entry.ecx = 0;
  const CpuidOptions options{.vcpu_id = 0, .vcpu_count = 1, .tsc_deadline_timer = false};
  EXPECT_EQ(Normalised(entry, options).ecx, 1U << 31);
}

TEST(CpuidTest, DeadlineTimerIsOfferedOnlyIfKvmHasIt) {
  kvm_cpuid_entry2 entry = Leaf(1);
  entry.ecx = 0;
  const CpuidOptions with{.vcpu_id = 0, .vcpu_count = 1, .tsc_deadline_timer = true};
  const CpuidOptions without{.vcpu_id = 0, .vcpu_count = 1, .tsc_deadline_timer = false};
  EXPECT_NE(Normalised(entry, with).ecx & 1U << 24, 0);
  EXPECT_EQ(Normalised(entry, without).ecx & 1U << 24, 0);
}

TEST(CpuidTest, TopologyIsOneSocketOfSingleThreadedCores) {
  const CpuidOptions options{.vcpu_id = 5, .vcpu_count = 6, .tsc_deadline_timer = true};
  const auto threads = Normalised(Leaf(0xb, 0), options);
  EXPECT_EQ(threads.eax, 0);
  EXPECT_EQ(threads.ebx, 1);
  EXPECT_EQ(threads.ecx, 0x100);
  EXPECT_EQ(threads.edx, 5);
  const auto cores = Normalised(Leaf(0xb, 1), options);
  EXPECT_EQ(cores.eax, 3);  // 6 ids need 3 bits.
  EXPECT_EQ(cores.ebx, 6);
  EXPECT_EQ(cores.ecx, 0x201);
  const auto end = Normalised(Leaf(0xb, 2), options);
  EXPECT_EQ(end.ebx, 0);
  EXPECT_EQ(end.ecx, 2);
}

TEST(CpuidTest, OtherLeavesAreLeftAlone) {
  const CpuidOptions options{.vcpu_id = 0, .vcpu_count = 1, .tsc_deadline_timer = true};
  EXPECT_EQ(Normalised(Leaf(7), options).ebx, 0xffffffff);
}

}  // namespace
}  // namespace mayfly
