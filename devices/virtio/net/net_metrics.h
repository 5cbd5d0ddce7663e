#pragma once

#include "devices/metrics.h"

namespace mayfly {

// Seen from the guest: it receives (rx) and transmits (tx). Bytes are those of frames, without the
// virtio header.
struct NetMetrics {
  Counter rx_frames;
  Counter rx_bytes;
  Counter rx_dropped;
  Counter rx_starved;
  Counter rx_throttled;
  Counter rx_errors;
  Counter tx_frames;
  Counter tx_bytes;
  Counter tx_malformed;
  Counter tx_filtered;
  Counter tx_dropped;
  Counter tx_throttled;
  Counter tx_errors;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("rx_frames_total", "Frames given to the guest.", &NetMetrics::rx_frames);
    visit("rx_bytes_total", "Bytes of frames given to the guest.", &NetMetrics::rx_bytes);
    visit("rx_dropped_total", "Frames for which the guest's buffers were too small.",
          &NetMetrics::rx_dropped);
    visit("rx_starved_total", "Times that reception stopped for want of buffers.",
          &NetMetrics::rx_starved);
    visit("rx_throttled_total", "Times that the rate limit stopped reception.",
          &NetMetrics::rx_throttled);
    visit("rx_errors_total", "Failed reads of the backend, and frames that made no sense.",
          &NetMetrics::rx_errors);
    visit("tx_frames_total", "Frames that the guest sent.", &NetMetrics::tx_frames);
    visit("tx_bytes_total", "Bytes of frames that the guest sent.", &NetMetrics::tx_bytes);
    visit("tx_malformed_total", "Frames of the guest's that were none.", &NetMetrics::tx_malformed);
    visit("tx_filtered_total", "Frames with a source address that is not the guest's.",
          &NetMetrics::tx_filtered);
    visit("tx_dropped_total", "Frames sent while the link was down.", &NetMetrics::tx_dropped);
    visit("tx_throttled_total", "Times that the rate limit stopped transmission.",
          &NetMetrics::tx_throttled);
    visit("tx_errors_total", "Frames that the backend refused.", &NetMetrics::tx_errors);
  }
};

}  // namespace mayfly
