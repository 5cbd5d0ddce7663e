#pragma once

#include "devices/metrics.h"

namespace mayfly {

// What a block device counts.
struct BlkMetrics {
  Counter reads;
  Counter read_bytes;
  Counter reads_from_cache;
  Counter writes;
  Counter written_bytes;
  Counter flushes;
  Counter discards;
  Counter write_zeroes;
  Counter rejected;
  Counter errors;
  Counter throttled;
  LatencyHistogram latency;

  // Calls `visit(name, help, pointer to member)` for every one.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("reads_total", "Reads that were completed.", &BlkMetrics::reads);
    visit("read_bytes_total", "Bytes that were read.", &BlkMetrics::read_bytes);
    visit("reads_from_cache_total", "Reads that did not have to wait for the disk.",
          &BlkMetrics::reads_from_cache);
    visit("writes_total", "Writes that were completed.", &BlkMetrics::writes);
    visit("written_bytes_total", "Bytes that were written.", &BlkMetrics::written_bytes);
    visit("flushes_total", "Flushes that were completed.", &BlkMetrics::flushes);
    visit("discards_total", "Discards that were completed.", &BlkMetrics::discards);
    visit("write_zeroes_total", "Requests to write zeroes that were completed.",
          &BlkMetrics::write_zeroes);
    visit("rejected_total", "Requests that were malformed or not supported.",
          &BlkMetrics::rejected);
    visit("errors_total", "Requests that failed on the host.", &BlkMetrics::errors);
    visit("throttled_total", "Times that the rate limit stopped the queues.",
          &BlkMetrics::throttled);
    visit("latency_seconds", "From taking a request to its completion.", &BlkMetrics::latency);
  }
};

}  // namespace mayfly
