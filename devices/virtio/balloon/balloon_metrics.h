#pragma once

#include "devices/metrics.h"

namespace mayfly {

// What the guest reports is a claim: numbers for people, which nothing here relies on.
struct BalloonMetrics {
  Gauge target;
  Gauge actual;
  Counter inflated;
  Counter deflated;
  Counter reported;
  Counter refused;
  Counter stats;
  Gauge guest_free;
  Gauge guest_total;
  Gauge guest_available;
  Gauge guest_caches;
  Gauge guest_major_faults;
  Gauge guest_minor_faults;
  Gauge guest_swap_in;
  Gauge guest_swap_out;

  // Calls `visit(name, help, pointer to member)` for every metric.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("target_bytes", "What the balloon is to hold.", &BalloonMetrics::target);
    visit("actual_bytes", "What the guest says that it holds.", &BalloonMetrics::actual);
    visit("inflated_bytes_total", "Memory that went into the balloon.", &BalloonMetrics::inflated);
    visit("deflated_bytes_total", "Memory that the guest took back.", &BalloonMetrics::deflated);
    visit("reported_bytes_total", "Free memory that the guest reported.",
          &BalloonMetrics::reported);
    visit("refused_total", "Ranges that the guest gave and that could not go to the host.",
          &BalloonMetrics::refused);
    visit("stats_total", "Statistics that the guest sent.", &BalloonMetrics::stats);
    visit("guest_free_bytes", "Unused memory, says the guest.", &BalloonMetrics::guest_free);
    visit("guest_total_bytes", "All memory, says the guest.", &BalloonMetrics::guest_total);
    visit("guest_available_bytes", "Memory to be had without swapping, says the guest.",
          &BalloonMetrics::guest_available);
    visit("guest_caches_bytes", "Disk caches, says the guest.", &BalloonMetrics::guest_caches);
    visit("guest_major_faults", "Major page faults so far, says the guest.",
          &BalloonMetrics::guest_major_faults);
    visit("guest_minor_faults", "Minor page faults so far, says the guest.",
          &BalloonMetrics::guest_minor_faults);
    visit("guest_swap_in_bytes", "Read from swap so far, says the guest.",
          &BalloonMetrics::guest_swap_in);
    visit("guest_swap_out_bytes", "Written to swap so far, says the guest.",
          &BalloonMetrics::guest_swap_out);
  }
};

}  // namespace mayfly
