#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "vmm/machine/machine.h"
#include "vmm/machine/machine_builder.h"

namespace mayfly {

// Runs the small guests of tests/integration/guests on this host's KVM. Skips where there is none.
class MachineFixture : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A machine of 128 MiB whose kernel is the test guest `guest`, with its console in a file.
  MachineConfig ConfigFor(const std::string& guest, const std::string& command_line);

  // Boots and lets it run; the test fails if it does not boot.
  void Start(MachineConfig config);
  // The same, after `change` has had its way with what the machine is made of.
  void Start(MachineConfig config, const std::function<void(Machine::Parts&)>& change);
  // Waits for its end, at most a minute, and stops it.
  MachineEnd WaitForEnd();
  // Both: the guest's end, and its console output in output().
  MachineEnd Run(MachineConfig config);
  MachineEnd Run(const std::string& guest, const std::string& command_line);

  // What the guest has printed so far.
  [[nodiscard]] std::string output() const;
  // Waits, at most a minute, until the guest has printed `text`.
  bool WaitForOutput(std::string_view text) const;
  // A path in a directory that goes with the test.
  [[nodiscard]] std::string PathFor(const std::string& name) const;
  void WriteFile(const std::string& name, std::string_view contents) const;
  [[nodiscard]] std::string ReadBack(const std::string& name) const;

  std::unique_ptr<Machine> machine_;

 private:
  std::string directory_;
  UniqueFd console_;
};

}  // namespace mayfly
