#include "vmm/capi/machine_object.h"

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

Status MachineObject::Boot() {
  return Configure([this](MachineConfig& config) -> Status {
    if (config.kernel.empty()) return FailWith(MAYFLY_E_STATE, "no kernel was set");
    // Taken: descriptors in it are the machine's now, so that a boot that fails is not tried again.
    machine_ = TRY(MachineBuilder(std::move(config), &library()).Boot());
    machine_->Resume();
    booted_.store(machine_.get(), std::memory_order_release);
    return 0;
  });
}

Status MachineObject::SetBalloon(uint64_t bytes) {
  if (machine() == nullptr) {
    return Configure([bytes](MachineConfig& config) -> Status {
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
