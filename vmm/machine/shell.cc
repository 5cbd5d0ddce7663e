#include "vmm/machine/shell.h"

#include <algorithm>
#include <cstring>

#include "vmm/machine/machine_builder.h"

namespace mayfly {
namespace {

bool SameShape(const VcpuState& a, const VcpuState& b) {
  return a.tsc_khz == b.tsc_khz && a.cpuid.size() == b.cpuid.size() &&
         std::memcmp(a.cpuid.data(), b.cpuid.data(), a.cpuid.size() * sizeof(kvm_cpuid_entry2)) ==
             0;
}

}  // namespace

Result<std::unique_ptr<Shell>> Shell::Create(const MachineState& state) {
  return Create(state, UniqueFd(), {});
}

Result<std::unique_ptr<Shell>> Shell::Create(const MachineState& state, UniqueFd kvm,
                                             ThreadHooks threads) {
  MachineConfig config;
  config.kvm = std::move(kvm);
  config.threads = std::move(threads);
  std::unique_ptr<Shell> self(new Shell());
  self->parts_ = TRY(MachineBuilder(std::move(config), nullptr).BuildShell(state));
  self->vcpus_ = state.vcpus;
  return self;
}

bool Shell::SetsRegistersOf(const MachineState& state) {
  return std::ranges::all_of(state.vcpus, RegistersStandAlone);
}

Result<Machine::Parts> Shell::TakeParts(const MachineState& state) && {
  // Those that were set ahead cannot be taken back: a restore sets what a new vCPU does not have.
  if (parts_.memory->size() == state.memory_bytes &&
      std::ranges::equal(vcpus_, state.vcpus, SameShape) &&
      std::ranges::equal(vcpus_, state.vcpus, SameRegisters)) {
    return std::move(parts_);
  }
  return Fail(ErrorCode::kInvalidArgument, "shell: made for another state");
}

}  // namespace mayfly
