#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace mayfly {

// What one run of one thing has shown.
struct Measurement {
  double seconds = 0;
  uint64_t operations = 0;
  uint64_t bytes = 0;
  std::vector<double> microseconds{};  // Some operations' times, where each has one.
  std::optional<double> kicks{};       // For each operation, from a guest.
};

// The runs of one thing: medians of rates, and percentiles of all times.
class Series {
 public:
  void Add(Measurement run);

  [[nodiscard]] bool empty() const { return rates_.empty(); }
  [[nodiscard]] double operations_per_second() const { return Median(rates_); }
  // Of the best run: what is left of a host that is busy with other things.
  [[nodiscard]] double most_operations_per_second() const {
    return rates_.empty() ? 0 : *std::ranges::max_element(rates_);
  }
  [[nodiscard]] double megabytes_per_second() const { return Median(bandwidths_) / 1e6; }
  // The microseconds that a `share` of the operations do not exceed.
  [[nodiscard]] double latency(double share) const;
  [[nodiscard]] double kicks() const { return Median(kicks_); }
  [[nodiscard]] bool has_latency() const { return !microseconds_.empty(); }
  [[nodiscard]] bool has_kicks() const { return !kicks_.empty(); }

 private:
  static double Median(std::vector<double> values);

  std::vector<double> rates_;
  std::vector<double> bandwidths_;
  std::vector<double> kicks_;
  std::vector<double> microseconds_;
};

// Counts operations for a time, with the time of each.
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Stopwatch(double seconds) : end_(start_ + std::chrono::duration<double>(seconds)) {}
  [[nodiscard]] bool running() const { return Clock::now() < end_; }
  void Count(uint64_t bytes) {
    ++measured_.operations;
    measured_.bytes += bytes;
  }
  void Sample(Clock::duration duration) {
    if (measured_.microseconds.size() == kMostSamples) return;
    measured_.microseconds.push_back(std::chrono::duration<double, std::micro>(duration).count());
  }
  Measurement Stop() {
    measured_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    return std::move(measured_);
  }

 private:
  static constexpr size_t kMostSamples = 1'000'000;

  Clock::time_point start_ = Clock::now();
  std::chrono::time_point<Clock, std::chrono::duration<double>> end_;
  Measurement measured_;
};

}  // namespace mayfly
