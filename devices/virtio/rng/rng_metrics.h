#pragma once

#include "devices/metrics.h"

namespace mayfly {

struct RngMetrics {
  Counter requests;
  Counter bytes;
  Counter throttled;

  // Calls `visit(name, help, pointer to member)` for every metric.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("requests_total", "Buffers that were filled.", &RngMetrics::requests);
    visit("bytes_total", "Random bytes given to the guest.", &RngMetrics::bytes);
    visit("throttled_total", "Times that the guest had to wait for its rate.",
          &RngMetrics::throttled);
  }
};

}  // namespace mayfly
