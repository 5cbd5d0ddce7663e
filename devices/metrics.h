#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mayfly {

// A count that only grows. Any thread.
class Counter {
 public:
  void Add(uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A value that rises and falls. Any thread.
class Gauge {
 public:
  void Set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// How long something took, as counts in buckets. Any thread; a reader may see an observation in its
// bucket before it sees it in the sum.
class LatencyHistogram {
 public:
  // Upper bounds, inclusive; a last bucket takes what is longer.
  static constexpr std::array<uint64_t, 12> kBoundsMicroseconds{
      5, 10, 20, 50, 100, 200, 500, 1'000, 5'000, 20'000, 100'000, 1'000'000};

  void Observe(std::chrono::nanoseconds duration);
  [[nodiscard]] uint64_t bucket(size_t index) const {
    return buckets_[index].load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t sum_nanoseconds() const {
    return sum_nanoseconds_.load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<uint64_t>, kBoundsMicroseconds.size() + 1> buckets_{};
  std::atomic<uint64_t> sum_nanoseconds_{0};
};

// Knows the metrics of a machine's devices and writes them down. Owned by the machine, filled by
// its builder before the threads start, read by any thread after. It borrows what is added.
//
// A device that has metrics keeps them in a struct of its own that lists them once:
//
//   struct RngMetrics {
//     Counter bytes;
//     template <class Visitor>
//     static void Visit(Visitor&& visit) {
//       visit("bytes_total", "Random bytes given to the guest.", &RngMetrics::bytes);
//     }
//   };
class MetricsRegistry {
 public:
  // Adds all of `metrics` under the names mayfly_COMPONENT_NAME, with the label device="DEVICE".
  template <class Metrics>
  void Add(std::string_view component, std::string_view device, const Metrics* metrics) {
    Metrics::Visit([&](std::string_view name, std::string_view help, auto member) {
      Append(component, device, name, help, &(metrics->*member));
    });
  }

  // The text format of Prometheus, version 0.0.4.
  [[nodiscard]] std::string Prometheus() const;
  // {"COMPONENT": {"DEVICE": {"NAME": value}}}; a histogram is an object with "buckets", which
  // maps upper bounds in seconds to cumulative counts, "sum_seconds" and "count".
  [[nodiscard]] std::string Json() const;

 private:
  // One of the three pointers is set.
  struct Entry {
    std::string component;
    std::string device;
    std::string name;
    std::string help;
    const Counter* counter;
    const Gauge* gauge;
    const LatencyHistogram* histogram;
  };

  // Of a counter or a gauge.
  static uint64_t ValueOf(const Entry& entry);
  template <class Key>
  std::vector<const Entry*> Sorted(Key key) const;
  static Entry NewEntry(std::string_view component, std::string_view device, std::string_view name,
                        std::string_view help) {
    return {std::string(component),
            std::string(device),
            std::string(name),
            std::string(help),
            nullptr,
            nullptr,
            nullptr};
  }
  void Append(std::string_view component, std::string_view device, std::string_view name,
              std::string_view help, const Counter* counter);
  void Append(std::string_view component, std::string_view device, std::string_view name,
              std::string_view help, const Gauge* gauge);
  void Append(std::string_view component, std::string_view device, std::string_view name,
              std::string_view help, const LatencyHistogram* histogram);

  std::vector<Entry> entries_;
};

}  // namespace mayfly
