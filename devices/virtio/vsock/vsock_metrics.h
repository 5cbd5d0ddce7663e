#pragma once

#include "devices/metrics.h"

namespace mayfly {

struct VsockMetrics {
  Gauge connections;
  Counter accepted;
  Counter refused;
  Counter timed_out;
  Counter bytes_to_guest;
  Counter bytes_to_host;
  Counter packets_to_guest;
  Counter packets_from_guest;
  Counter malformed;
  Counter resets;
  Counter stalls;
  Counter host_events;

  // Calls `visit(name, help, pointer to member)` for every metric.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("connections", "Connections that are open or being opened.", &VsockMetrics::connections);
    visit("accepted_total", "Connections that were opened, by either side.",
          &VsockMetrics::accepted);
    visit("refused_total", "Connections of the guest's that the host refused.",
          &VsockMetrics::refused);
    visit("timed_out_total", "Connections of the host's that the guest did not answer.",
          &VsockMetrics::timed_out);
    visit("to_guest_bytes_total", "Payload from the host.", &VsockMetrics::bytes_to_guest);
    visit("to_host_bytes_total", "Payload from the guest.", &VsockMetrics::bytes_to_host);
    visit("to_guest_packets_total", "Packets in receive buffers.", &VsockMetrics::packets_to_guest);
    visit("from_guest_packets_total", "Packets taken from the guest.",
          &VsockMetrics::packets_from_guest);
    visit("malformed_total", "Packets of the guest's that break the rules.",
          &VsockMetrics::malformed);
    visit("resets_total", "Resets owed to the guest.", &VsockMetrics::resets);
    visit("stalls_total", "Times that transmission waited for the guest to take its resets.",
          &VsockMetrics::stalls);
    visit("host_events_total", "Times that a host's end became ready.", &VsockMetrics::host_events);
  }
};

}  // namespace mayfly
