#pragma once

#include <cstdint>
#include <vector>

namespace mayfly {

// The registers of one queue as the driver wrote them, and how far the device has come. `size` is
// wider than a queue can be: what the driver writes is judged at activation, not cut.
struct MmioQueueState {
  uint32_t size = 0;
  bool ready = false;
  uint64_t descriptor_table = 0;
  uint64_t avail_ring = 0;
  uint64_t used_ring = 0;
  uint16_t next_avail = 0;
  uint16_t next_used = 0;
  uint16_t signalled_used = 0;
  bool signalled_used_valid = true;

  bool operator==(const MmioQueueState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("size", &MmioQueueState::size);
    visit("ready", &MmioQueueState::ready);
    visit("descriptor_table", &MmioQueueState::descriptor_table);
    visit("avail_ring", &MmioQueueState::avail_ring);
    visit("used_ring", &MmioQueueState::used_ring);
    visit("next_avail", &MmioQueueState::next_avail);
    visit("next_used", &MmioQueueState::next_used);
    visit("signalled_used", &MmioQueueState::signalled_used);
    visit("signalled_used_valid", &MmioQueueState::signalled_used_valid);
  }
};

// The register file of an MmioTransport. The default value is the state after reset, for a device
// of any type; a saved one names its device's type and has an entry for each of its queues.
struct MmioState {
  uint32_t device_id = 0;
  uint32_t status = 0;
  uint32_t interrupt_status = 0;
  uint32_t config_generation = 0;
  uint32_t device_features_sel = 0;
  uint32_t driver_features_sel = 0;
  uint64_t driver_features = 0;
  uint32_t queue_sel = 0;
  uint32_t pending_kicks = 0;  // Bit n: queue n was kicked and not processed yet.
  std::vector<MmioQueueState> queues;

  bool operator==(const MmioState&) const = default;

  // As MmioQueueState::Visit(); "queues" is a vector of such.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("device_id", &MmioState::device_id);
    visit("status", &MmioState::status);
    visit("interrupt_status", &MmioState::interrupt_status);
    visit("config_generation", &MmioState::config_generation);
    visit("device_features_sel", &MmioState::device_features_sel);
    visit("driver_features_sel", &MmioState::driver_features_sel);
    visit("driver_features", &MmioState::driver_features);
    visit("queue_sel", &MmioState::queue_sel);
    visit("pending_kicks", &MmioState::pending_kicks);
    visit("queues", &MmioState::queues);
  }
};

}  // namespace mayfly
