#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "vmm/config/interface_address.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/function_session.h"
#include "vmm/function/description.h"
#include "vmm/machine/machine.h"

namespace mayfly {

struct FunctionMachineConfig {
  FunctionDescription description;
  std::string image_name;  // For errors.
  UniqueFd image;          // The .mfn file, read-only.
  std::string kernel;
  std::vector<uint8_t> initrd;
  int console_output = -1;  // Borrowed; -1: the guest has no console.
  std::vector<NetConfig> nets;
  std::vector<InterfaceAddress> addresses;  // What init gives eth0, eth1 ...: those of `nets`.
};

// A machine with one function in it: booted from a kernel, driven over the control channel. One
// thread, but for Interrupt(). After an error of Load() or Invoke(), or a handler error in an
// invocation's result, the machine is not to be used again.
class FunctionMachine {
 public:
  // From the start of the machine to init's hello. A stock kernel that loads its drivers as modules
  // takes 12 s where virtualisation is emulated.
  static constexpr std::chrono::seconds kBootTimeout{90};

  struct Timings {
    std::chrono::steady_clock::time_point created;  // The machine is built, the guest about to run.
    std::chrono::steady_clock::time_point hello;    // Init has reached the control channel.
    std::chrono::steady_clock::time_point ready;    // The handler is ready for events.
  };

  // Builds the machine and lets it run. `log` is borrowed.
  static Result<std::unique_ptr<FunctionMachine>> Boot(FunctionMachineConfig config,
                                                       FunctionSession::LogCallback on_log,
                                                       LogSink* log);
  FunctionMachine(const FunctionMachine&) = delete;
  FunctionMachine& operator=(const FunctionMachine&) = delete;
  ~FunctionMachine();

  // Waits until the handler is ready. kHandler if it does not start, kGuest if the machine ends.
  Result<void> Load();
  // As FunctionSession::Invoke().
  Result<InvocationResult> Invoke(std::span<const uint8_t> event, const Invocation& invocation);

  // Ends what Load() or Invoke() waits for, with a kGuest error that says `reason`. Any thread.
  void Interrupt(const std::string& reason) { channel_.Close(reason); }
  void Stop();

  [[nodiscard]] std::optional<MachineEnd> end() const { return machine_->end(); }
  [[nodiscard]] const MetricsRegistry& metrics() const { return machine_->metrics(); }
  [[nodiscard]] const Timings& timings() const { return timings_; }

 private:
  FunctionMachine(FunctionDescription description, std::vector<InterfaceAddress> addresses,
                  FunctionSession::LogCallback on_log);

  const FunctionDescription description_;
  const std::vector<InterfaceAddress> addresses_;
  ControlChannel channel_;
  FunctionSession session_;
  Timings timings_{};
  std::unique_ptr<Machine> machine_;  // Last: it calls into the channel.
};

}  // namespace mayfly
