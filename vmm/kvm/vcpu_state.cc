#include "vmm/kvm/vcpu_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace mayfly {
namespace {

constexpr uint32_t kMsrTscDeadline = 0x6e0;
// Hosts of one kind differ by so much in what they measure at their start; more is another clock.
constexpr uint32_t kTscTolerancePerMillion = 250;

// CPUID bits that follow the vCPU's registers, and are theirs to restore (Intel SDM volume 2,
// CPUID): leaf 1 ECX.OSXSAVE and EDX.APIC, leaf 7 ECX.OSPKE, leaf 0xd sizes, leaf 0x80000001
// EDX.APIC.
struct Dynamic {
  uint32_t function;
  uint32_t index;
  uint32_t ebx;
  uint32_t ecx;
  uint32_t edx;
};
constexpr std::array kDynamic{
    Dynamic{0x1, 0, 0, 1U << 27, 1U << 9},
    Dynamic{0x7, 0, 0, 1U << 4, 0},
    Dynamic{0xd, 0, ~0U, 0, 0},
    Dynamic{0xd, 1, ~0U, 0, 0},
    Dynamic{0x80000001, 0, 0, 0, 1U << 9},
};

kvm_cpuid_entry2 WithoutDynamic(kvm_cpuid_entry2 entry) {
  for (const Dynamic& dynamic : kDynamic) {
    if (dynamic.function != entry.function || dynamic.index != entry.index) continue;
    entry.ebx &= ~dynamic.ebx;
    entry.ecx &= ~dynamic.ecx;
    entry.edx &= ~dynamic.edx;
  }
  return entry;
}

bool Same(const kvm_cpuid_entry2& a, const kvm_cpuid_entry2& b) {
  return a.function == b.function && a.index == b.index && a.eax == b.eax && a.ebx == b.ebx &&
         a.ecx == b.ecx && a.edx == b.edx;
}

// KVM merges the host's features into what it is given, so what it shows afterwards is compared.
Result<void> CompareCpuid(const Vcpu& vcpu, const VcpuState& state) {
  const auto now = TRY(vcpu.GetCpuid());
  if (now->count != state.cpuid.size()) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("CPUID: the snapshot has {} leaves, this host {}", state.cpuid.size(),
                            now->count));
  }
  for (size_t i = 0; i < state.cpuid.size(); ++i) {
    const kvm_cpuid_entry2 saved = WithoutDynamic(state.cpuid[i]);
    const kvm_cpuid_entry2 here = WithoutDynamic(now->entries[i]);
    if (Same(saved, here)) continue;
    return Fail(ErrorCode::kUnsupported,
                fmt::format("CPUID leaf {:#x}.{}: the snapshot has {:08x} {:08x} {:08x} {:08x}, "
                            "this host {:08x} {:08x} {:08x} {:08x}",
                            saved.function, saved.index, saved.eax, saved.ebx, saved.ecx, saved.edx,
                            here.eax, here.ebx, here.ecx, here.edx));
  }
  return {};
}

Result<void> CompareTsc(const Vcpu& vcpu, const VcpuState& state) {
  const uint32_t here = vcpu.tsc_khz();
  const uint64_t difference = here > state.tsc_khz ? here - state.tsc_khz : state.tsc_khz - here;
  if (difference * 1'000'000 <= uint64_t{here} * kTscTolerancePerMillion) return {};
  return Fail(ErrorCode::kUnsupported,
              fmt::format("time stamp counter: the snapshot has {} kHz, this host {} kHz",
                          state.tsc_khz, here));
}

// The deadline counts in the counter's terms, so it comes after it. Rotated, not sorted: clang
// calls the buffer of this library's stable sort deprecated.
void SortForRestore(std::vector<kvm_msr_entry>& msrs) {
  const auto counter = std::ranges::find(msrs, Vcpu::kMsrTsc, &kvm_msr_entry::index);
  if (counter != msrs.end()) std::rotate(msrs.begin(), counter, counter + 1);
  const auto deadline = std::ranges::find(msrs, kMsrTscDeadline, &kvm_msr_entry::index);
  if (deadline != msrs.end()) std::rotate(deadline, deadline + 1, msrs.end());
}

Result<void> SetCpuid(const Vcpu& vcpu, const VcpuState& state) {
  auto list = std::make_unique<abi::CpuidList>();
  if (state.cpuid.size() > abi::CpuidList::kSize) {
    return Fail(ErrorCode::kCorrupt, fmt::format("cpuid: {} leaves, {} are possible",
                                                 state.cpuid.size(), abi::CpuidList::kSize));
  }
  list->count = static_cast<uint32_t>(state.cpuid.size());
  std::ranges::copy(state.cpuid, list->entries);
  return vcpu.SetCpuid(*list);
}

// As a new vCPU has them (Intel SDM volume 3, 17.2).
bool IsReset(const kvm_debugregs& debug) {
  constexpr uint64_t kDr6 = 0xffff0ff0;
  constexpr uint64_t kDr7 = 0x400;
  return std::ranges::all_of(debug.db, [](uint64_t address) { return address == 0; }) &&
         debug.dr6 == kDr6 && debug.dr7 == kDr7;
}

// Whether the guest has told KVM where it wants its clock (Documentation/virt/kvm/x86/msr.rst).
bool UsesKvmclock(const VcpuState& state) {
  constexpr std::array<uint32_t, 2> kSystemTime{0x12, 0x4b564d01};
  return std::ranges::any_of(state.msrs, [&](const kvm_msr_entry& msr) {
    return std::ranges::find(kSystemTime, msr.index) != kSystemTime.end() && (msr.data & 1) != 0;
  });
}

}  // namespace

Result<VcpuState> SaveVcpu(const Vcpu& vcpu, std::span<const uint32_t> msr_indices) {
  VcpuState state;
  state.id = vcpu.id();
  state.tsc_khz = vcpu.tsc_khz();
  // Before the registers: reading it makes KVM finish what the APIC has pending (INIT, SIPI).
  state.mp_state = TRY(vcpu.GetMpState());
  const auto cpuid = TRY(vcpu.GetCpuid());
  state.cpuid.assign(cpuid->entries, cpuid->entries + cpuid->count);
  state.registers = TRY(vcpu.GetRegisters());
  state.system = TRY(vcpu.GetSystemRegisters());
  state.xsave = TRY(vcpu.GetXsave());
  state.xcrs = TRY(vcpu.GetXcrs());
  state.debug = TRY(vcpu.GetDebugRegisters());
  state.lapic = TRY(vcpu.GetLapic());
  state.msrs = TRY(vcpu.GetMsrs(msr_indices));
  SortForRestore(state.msrs);
  state.events = TRY(vcpu.GetEvents());
  return state;
}

Result<void> PrepareVcpu(const Vcpu& vcpu, const VcpuState& state) {
  TRY(CompareTsc(vcpu, state));
  TRY(SetCpuid(vcpu, state));
  return CompareCpuid(vcpu, state);
}

// The order of all matters: the system registers hold the APIC's base, so the local APIC comes
// after them; the MSRs hold its timer's deadline, which an APIC that is not yet in that mode drops
// without a word; the general registers clear pending exceptions, so the events come last. The vCPU
// is new, and each call costs microseconds: what it has already is not set again.
Result<void> RestoreRegisters(const Vcpu& vcpu, const VcpuState& state) {
  if (vcpu.id() != 0 || state.mp_state != KVM_MP_STATE_RUNNABLE) {
    TRY(vcpu.SetMpState(state.mp_state));
  }
  TRY(vcpu.SetRegisters(state.registers));
  TRY(vcpu.SetSystemRegisters(state.system));
  // A processor without XSAVE has none, and KVM does not take none.
  if (state.xcrs.nr_xcrs > 0) TRY(vcpu.SetXcrs(state.xcrs));
  TRY(vcpu.SetXsave(state.xsave));
  return IsReset(state.debug) ? Result<void>() : vcpu.SetDebugRegisters(state.debug);
}

Result<void> RestoreEvents(const Vcpu& vcpu, const VcpuState& state) {
  if (state.msrs.size() > abi::MsrEntries::kSize) {
    return Fail(ErrorCode::kCorrupt, fmt::format("msrs: {}, {} are possible", state.msrs.size(),
                                                 abi::MsrEntries::kSize));
  }
  TRY(vcpu.SetLapic(state.lapic));
  TRY(vcpu.SetMsrs(state.msrs));
  TRY(vcpu.SetEvents(state.events));
  return UsesKvmclock(state) ? vcpu.AnnouncePause() : Result<void>();
}

Result<void> RestoreVcpu(const Vcpu& vcpu, const VcpuState& state) {
  TRY(PrepareVcpu(vcpu, state));
  TRY(RestoreRegisters(vcpu, state));
  return RestoreEvents(vcpu, state);
}

bool RegistersStandAlone(const VcpuState& state) {
  constexpr uint64_t kPaging = 1ULL << 31;            // CR0.PG
  constexpr uint64_t kPhysicalExtension = 1ULL << 5;  // CR4.PAE
  constexpr uint64_t kLongModeActive = 1ULL << 10;    // EFER.LMA
  return (state.system.cr0 & kPaging) == 0 || (state.system.cr4 & kPhysicalExtension) == 0 ||
         (state.system.efer & kLongModeActive) != 0;
}

bool SameRegisters(const VcpuState& a, const VcpuState& b) {
  const auto same = [](const auto& one, const auto& other) {
    return std::memcmp(&one, &other, sizeof(one)) == 0;
  };
  return a.mp_state == b.mp_state && same(a.registers, b.registers) && same(a.system, b.system) &&
         same(a.xsave, b.xsave) && same(a.xcrs, b.xcrs) && same(a.debug, b.debug);
}

}  // namespace mayfly
