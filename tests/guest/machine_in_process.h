#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "tests/guest/guest_fixture.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_builder.h"

namespace mayfly {

// A machine with a Linux guest in the test's own process, for what the command has no option for.
class MachineInProcess : public GuestFixture {
 protected:
  void TearDown() override;

  // The minimal kernel with an init that runs `script`, 256 MiB, its console in a file.
  MachineConfig ConfigFor(const std::string& script);
  void Start(MachineConfig config);
  // What the host keeps for the guest's RAM, in bytes.
  [[nodiscard]] uint64_t HeldGuestBytes() const;
  // Waits until the guest has printed `text`, or `condition` holds; two minutes at most.
  bool WaitForOutput(const std::string& text) const;
  static bool WaitFor(const std::function<bool()>& condition);
  [[nodiscard]] std::string output() const;

  std::unique_ptr<Machine> machine_;

 private:
  UniqueFd console_;
  const GuestMemory* memory_ = nullptr;  // Borrowed from the machine.
};

}  // namespace mayfly
