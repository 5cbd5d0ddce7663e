#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "tests/integration/machine_fixture.h"

namespace mayfly {

// Runs a case of the guest `hostile` against one device, on KVM. The guest itself checks what the
// device makes of it and that all other devices work; the host then pauses and stops the machine in
// the middle of more of the same.
class HostileFixture : public MachineFixture {
 protected:
  // Far above what either takes, and far below a hang; a loaded host may take its time.
  static constexpr std::chrono::seconds kMostPause{1};

  // Prints how long pauses and stops took.
  static void TearDownTestSuite();

  // Two disks of 8 sectors, whose bytes are their sector's number; vsock, rng; 512 MiB.
  MachineConfig HostileConfig(const std::string& command_line);
  // `device` is "blk", "net", "rng" or "vsock".
  void Abuse(std::string_view hostile_case, std::string_view device);
  // A case in which two vCPUs race.
  void AbuseFromTwoVcpus(std::string_view hostile_case, std::string_view device);
  // Pauses the machine, lets it run again and stops it, each in time.
  void PauseAndStop();
  // How much CPU time this process uses while it sleeps for `time`.
  static std::chrono::milliseconds CpuTimeIn(std::chrono::milliseconds time);
  // Waits for what the guest makes of its case; then pauses and stops it.
  void ExpectVerdict();

 private:
  // Runs `body` where the device can be had: a network device needs a tap.
  void WithDevice(std::string_view device, const std::function<void()>& body);
  MachineConfig ConfigWith(std::string_view device, std::string_view hostile_case);
  bool WaitForVerdict() const;
};

}  // namespace mayfly
