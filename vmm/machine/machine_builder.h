#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/log.h"
#include "snapshot/machine_state.h"
#include "snapshot/restored_memory.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/kernel.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

class Shell;

// Makes a Machine of a configuration; the only code that knows which device is wired to what.
// Nothing of the host is left behind if it fails halfway.
class MachineBuilder {
 public:
  // `log` is borrowed, outlives the machine, and may be null.
  MachineBuilder(MachineConfig config, LogSink* log) : config_(std::move(config)), log_(log) {}

  // A machine that stands where its kernel begins, paused. Errors name the part: kInvalidArgument
  // for the configuration, kCorrupt and kNotFound for files, kHost for the host.
  Result<std::unique_ptr<Machine>> Boot() &&;
  // What Boot() makes it of, for tests that change some of it first.
  Result<Machine::Parts> Build() &&;

  // A machine that stands where `state` was saved, over `memory`, paused; the configuration says
  // what its devices are bound to, and nothing of it is for booting. Its generation is new. Errors
  // besides: kCorrupt for a state that no machine can be in; kUnsupported, with both sides, for one
  // that this host cannot continue; kInvalidArgument, with both sides, where configuration and
  // state differ.
  Result<std::unique_ptr<Machine>> Restore(MachineState state, RestoredMemory memory) &&;
  // The same in a shell of the state's shape, over what the shell was filled with.
  Result<std::unique_ptr<Machine>> Restore(MachineState state, std::unique_ptr<Shell> shell) &&;
  // What a shell for `state` is made of.
  Result<Machine::Parts> BuildShell(const MachineState& state) &&;

 private:
  [[nodiscard]] size_t CountVirtioDevices() const;
  Result<void> AdoptState(MachineState state);
  // What comes after KVM's machine.
  Result<void> FinishRestore();
  Result<void> CheckConfig() const;
  Result<Kvm> OpenKvm();
  Result<void> CheckState(const GuestMemory& memory) const;
  Result<void> CheckRestorePage() const;
  // All of a restored machine but its memory and its end.
  Result<void> BuildRestored(const Kvm& kvm);
  // Creates the VM over parts_.memory.
  Result<void> CreateVm(const Kvm& kvm);
  Result<void> AddLegacyDevices();
  Result<void> AddGeneration();
  Result<void> AddVirtioDevices();
  Result<void> AddDisk(DiskConfig disk);
  Result<void> AddNet(NetConfig net);
  Result<void> AddVsock(VsockConfig config);
  Result<void> AddBalloon(const BalloonConfig& config);
  Result<void> AddRng();
  Result<void> AddTransport(std::string name, std::unique_ptr<VirtioDevice> device,
                            KickMode kick_mode);
  Result<void> CreateLine(uint32_t gsi);
  // The next line: devices ask for theirs in the order of the shell's.
  Result<InterruptLine*> AddLine(uint32_t gsi);
  [[nodiscard]] KickMode InlineUnlessFiltered() const {
    return config_.threads.filtered() ? KickMode::kLoop : KickMode::kInline;
  }
  // Puts kernel, initrd, command line and tables into guest memory.
  Result<LoadedKernel> LoadGuest();
  Result<std::vector<uint8_t>> TakeInitrd();
  Result<void> CreateVcpus(const Kvm& kvm, const LoadedKernel& kernel);
  Result<void> RestoreVcpus();
  // The next of the saved devices of a kind; the default if the machine is booted.
  template <class State>
  Result<State> TakeState(std::vector<State> MachineState::* kind, size_t index,
                          std::string_view name) const;
  Result<MmioState> TakeTransport(std::string_view name) const;

  MachineConfig config_;
  LogSink* log_;
  // What the machine is restored from; nothing if it is booted.
  std::optional<MachineState> saved_;
  Machine::Parts parts_;
  size_t lines_used_ = 0;       // Of those in the shell.
  bool registers_set_ = false;  // In the shell, to those of `saved_`.
  AcpiDevices acpi_;
};

}  // namespace mayfly
