#include "vmm/machine/shell.h"

#include <cstring>

#include "vmm/machine/machine_builder.h"

namespace mayfly {
namespace {

bool SameCpuid(const std::vector<kvm_cpuid_entry2>& a, const std::vector<kvm_cpuid_entry2>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(kvm_cpuid_entry2)) == 0;
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
  for (const VcpuState& vcpu : state.vcpus) self->cpuids_.push_back(vcpu.cpuid);
  self->tsc_khz_ = state.vcpus.empty() ? 0 : state.vcpus.front().tsc_khz;
  return self;
}

Result<Machine::Parts> Shell::TakeParts(const MachineState& state) && {
  bool same = parts_.memory->size() == state.memory_bytes && cpuids_.size() == state.vcpus.size();
  for (size_t i = 0; same && i < cpuids_.size(); ++i) {
    same = SameCpuid(cpuids_[i], state.vcpus[i].cpuid) && state.vcpus[i].tsc_khz == tsc_khz_;
  }
  if (same) return std::move(parts_);
  return Fail(ErrorCode::kInvalidArgument, "shell: made for machines of another shape");
}

}  // namespace mayfly
