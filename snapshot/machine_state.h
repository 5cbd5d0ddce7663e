#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "devices/identity/generation_id.h"
#include "devices/legacy/ioapic.h"
#include "devices/legacy/serial.h"
#include "devices/virtio/balloon/balloon_state.h"
#include "devices/virtio/blk/blk_state.h"
#include "devices/virtio/mmio_state.h"
#include "devices/virtio/net/net_state.h"
#include "devices/virtio/vsock/vsock_state.h"
#include "vmm/kvm/vcpu_state.h"

namespace mayfly {

// One virtio device: its registers and queues, and one of the states below, by what it is.
struct VirtioState {
  std::string name;  // "disk0", "net0", "vsock", "balloon", "rng"
  MmioState transport;

  bool operator==(const VirtioState&) const = default;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("name", &VirtioState::name);
    visit("transport", &VirtioState::transport);
  }
};

// Everything of a machine but its memory: plain values. The vectors of device states are in the
// order of their transports.
struct MachineState {
  uint64_t memory_bytes = 0;
  uint64_t clock_ns = 0;  // What kvmclock showed.
  std::vector<VcpuState> vcpus;
  IoapicState ioapic;
  SerialState serial;
  GenerationIdState generation;
  std::vector<VirtioState> virtio;
  std::vector<BlkState> disks;
  std::vector<NetState> nets;
  std::vector<VsockState> vsocks;      // At most one.
  std::vector<BalloonState> balloons;  // At most one.
};

}  // namespace mayfly
