#include "vmm/capi/machine_object.h"

#include <fmt/format.h>

#include "snapshot/snapshot_writer.h"
#include "vmm/capi/arguments.h"
#include "vmm/capi/wait.h"
#include "vmm/machine/machine_builder.h"

namespace mayfly::capi {
namespace {

int CodeOfEnd(EndReason reason) {
  switch (reason) {
    case EndReason::kPowerOff:
      return MAYFLY_END_POWER_OFF;
    case EndReason::kReset:
      return MAYFLY_END_RESET;
    case EndReason::kTripleFault:
      return MAYFLY_END_TRIPLE_FAULT;
    case EndReason::kInternalError:
      return MAYFLY_END_INTERNAL_ERROR;
    case EndReason::kUnknownExit:
      return MAYFLY_END_UNKNOWN_EXIT;
    case EndReason::kMemoryIntegrity:
      return MAYFLY_END_MEMORY_INTEGRITY;
    case EndReason::kHostError:
      return MAYFLY_END_HOST_ERROR;
    case EndReason::kStopped:
      return MAYFLY_END_STOPPED;
  }
  return MAYFLY_END_HOST_ERROR;
}

// Pauses a machine until GoOn(), or its own end.
class Standstill {
 public:
  // Null: a machine that is paused, and stays so.
  explicit Standstill(Machine* machine) : machine_(machine) {
    if (machine_ != nullptr) machine_->Pause();
  }
  Standstill(const Standstill&) = delete;
  Standstill& operator=(const Standstill&) = delete;
  ~Standstill() { GoOn(); }

  void GoOn() {
    if (Machine* const machine = std::exchange(machine_, nullptr)) machine->Resume();
  }

 private:
  Machine* machine_;
};

// A machine that goes on after its snapshot would change its disks under it.
Check CheckDisksStay(const Manifest& manifest) {
  for (size_t i = 0; i < manifest.disks.size(); ++i) {
    if (manifest.disks[i].read_only) continue;
    return FailWith(MAYFLY_E_STATE,
                    fmt::format("disk{} is writable: the machine has to be paused first, or it "
                                "would go on writing to it after its snapshot",
                                i));
  }
  return {};
}

}  // namespace

Status WriteEnd(const std::optional<MachineEnd>& end, mayfly_end* out) {
  if (!end) return FailWith(MAYFLY_E_AGAIN, "the machine has not ended");
  mayfly_end info{};
  info.reason = CodeOfEnd(end->reason);
  CopyText(end->detail, info.detail);
  return WriteInfo(info, out);
}

Result<std::unique_ptr<MachineObject>> MachineObject::Create(Library* library) {
  EventFd closing = TRY(EventFd::Create());
  return std::unique_ptr<MachineObject>(new MachineObject(library, std::move(closing)));
}

Status MachineObject::SetConsole(int input, int output) {
  return Configure([&](MachineConfig& config) -> Status {
    UniqueFd to = TRY(DuplicateOrNone(output));
    UniqueFd from = TRY(DuplicateOrNone(input));
    config.serial_output = to.get();
    config.serial_input = from.get();
    console_output_ = std::move(to);
    console_input_ = std::move(from);
    return 0;
  });
}

Status MachineObject::SetSnapshot(MachineSource source) {
  return Configure([&](MachineConfig&) -> Status {
    if (for_kernel_) {
      return FailWith(MAYFLY_E_STATE, "not with a kernel, memory, vCPUs, rng or balloon");
    }
    source_ = std::move(source);
    return 0;
  });
}

Status MachineObject::SetVsock(uint32_t guest_cid, const char* path) {
  return Configure([&](MachineConfig& config) -> Status {
    const bool own = guest_cid == 0 && source_;
    if (!own && (guest_cid < Overrides::kLeastCid || guest_cid > Overrides::kMostCid)) {
      return FailWith(MAYFLY_E_INVALID, "guest_cid: expected 3 to 4294967294");
    }
    VsockConfig vsock;
    vsock.guest_cid = guest_cid;
    vsock.path = TRY(ReadPath(path, "path"));
    config.vsock = std::move(vsock);
    return 0;
  });
}

Status MachineObject::Boot() {
  return Configure([this](MachineConfig& config) -> Status {
    if (config.kernel.empty() && !source_) {
      return FailWith(MAYFLY_E_STATE, "neither a kernel nor a snapshot was set");
    }
    taken_ = true;
    machine_ = TRY(source_ ? Restore() : Make());
    machine_->Resume();
    booted_.store(machine_.get(), std::memory_order_release);
    return 0;
  });
}

Result<std::unique_ptr<Machine>> MachineObject::Make() {
  // A disk that cannot be found again by its name is no reason not to boot.
  manifest_ = ManifestOfMachine(config_);
  return MachineBuilder(std::move(config_), &library()).Boot();
}

Result<std::unique_ptr<Machine>> MachineObject::Restore() {
  std::optional<VsockConfig>& vsock = config_.vsock;
  if (vsock && vsock->guest_cid != 0) vsock->new_cid = vsock->guest_cid;
  MachineBindings bindings{std::move(config_.disks), std::move(config_.nets), std::move(vsock)};
  const auto restore = TRY(
      MachineRestore::Open(source_->directory, std::move(bindings), std::move(source_->options)));
  MachineConfig config = std::move(restore->config);
  config.serial_output = config_.serial_output;
  config.serial_input = config_.serial_input;
  manifest_ = ManifestOfMachine(config);
  return restore->Start(std::move(config), &library());
}

Status MachineObject::Pause() {
  return Operate([this](Machine& machine) -> Status {
    machine.Pause();
    paused_ = true;
    return 0;
  });
}

Status MachineObject::Resume() {
  return Operate([this](Machine& machine) -> Status {
    machine.Resume();
    paused_ = false;
    return 0;
  });
}

Status MachineObject::Snapshot(const std::string& path) {
  return Operate([&](Machine& machine) -> Status {
    Manifest manifest = TRY(Result<Manifest>(manifest_));
    if (!paused_) TRY(CheckDisksStay(manifest));
    SnapshotWriter writer = TRY(SnapshotWriter::Create(path));
    Standstill standstill(paused_ ? nullptr : &machine);
    if (machine.end()) return FailWith(MAYFLY_E_STATE, "the machine has ended");
    const MachineState state = TRY(machine.Save());
    TRY(writer.WriteMemory(machine.memory()));
    standstill.GoOn();
    SetDiskSizes(state, &manifest);
    TRY(std::move(writer).Publish(std::move(manifest), state, library().stamps()));
    return 0;
  });
}

Status MachineObject::SetBalloon(uint64_t bytes) {
  if (machine() == nullptr) {
    return ConfigureKernel([bytes](MachineConfig& config) -> Status {
      config.balloon = BalloonConfig{bytes};
      return 0;
    });
  }
  return Operate([bytes](Machine& machine) -> Status {
    if (machine.balloon() == nullptr) return FailWith(MAYFLY_E_STATE, "the machine has no balloon");
    TRY(machine.balloon()->SetTarget(bytes));
    return 0;
  });
}

Status MachineObject::Wait(int timeout_ms) const {
  return Observe(
      [&](const Machine& machine) { return WaitReadable(machine.end_fd(), closing_, timeout_ms); });
}

}  // namespace mayfly::capi
