#include "devices/metrics.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <iterator>

namespace mayfly {
namespace {

constexpr double kSecondsPerNanosecond = 1e-9;

// "0.00005": the shortest text for a bound, without an exponent.
std::string BoundInSeconds(uint64_t microseconds) {
  std::string text = fmt::format("{}.{:06}", microseconds / 1'000'000, microseconds % 1'000'000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// A label's value: backslash, quote and newline are escaped.
std::string Escape(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    if (byte == '\n') {
      escaped += "\\n";
      continue;
    }
    if (byte == '\\' || byte == '"') escaped += '\\';
    escaped += byte;
  }
  return escaped;
}

// Calls `visit(upper bound in seconds, cumulative count)`; returns the count of all.
template <class Visitor>
uint64_t VisitBuckets(const LatencyHistogram& histogram, Visitor visit) {
  uint64_t count = 0;
  for (size_t i = 0; i < LatencyHistogram::kBoundsMicroseconds.size(); ++i) {
    count += histogram.bucket(i);
    visit(BoundInSeconds(LatencyHistogram::kBoundsMicroseconds[i]), count);
  }
  count += histogram.bucket(LatencyHistogram::kBoundsMicroseconds.size());
  visit(std::string("+Inf"), count);
  return count;
}

void WritePrometheus(std::string* out, const std::string& name, const std::string& device,
                     const LatencyHistogram& histogram) {
  auto to = std::back_inserter(*out);
  const uint64_t count =
      VisitBuckets(histogram, [&](const std::string& bound, uint64_t cumulative) {
        fmt::format_to(to, "{}_bucket{{device=\"{}\",le=\"{}\"}} {}\n", name, device, bound,
                       cumulative);
      });
  fmt::format_to(to, "{}_sum{{device=\"{}\"}} {}\n{}_count{{device=\"{}\"}} {}\n", name, device,
                 static_cast<double>(histogram.sum_nanoseconds()) * kSecondsPerNanosecond, name,
                 device, count);
}

void WriteJson(rapidjson::Writer<rapidjson::StringBuffer>* writer,
               const LatencyHistogram& histogram) {
  writer->StartObject();
  writer->Key("buckets");
  writer->StartObject();
  const uint64_t count =
      VisitBuckets(histogram, [&](const std::string& bound, uint64_t cumulative) {
        writer->Key(bound.c_str());
        writer->Uint64(cumulative);
      });
  writer->EndObject();
  writer->Key("sum_seconds");
  writer->Double(static_cast<double>(histogram.sum_nanoseconds()) * kSecondsPerNanosecond);
  writer->Key("count");
  writer->Uint64(count);
  writer->EndObject();
}

}  // namespace

void LatencyHistogram::Observe(std::chrono::nanoseconds duration) {
  // Rounded up, so that a bound holds for all that is counted below it.
  const auto microseconds = static_cast<uint64_t>((duration.count() + 999) / 1000);
  const auto* const bound = std::ranges::lower_bound(kBoundsMicroseconds, microseconds);
  const auto index = static_cast<size_t>(bound - kBoundsMicroseconds.begin());
  buckets_[index].fetch_add(1, std::memory_order_relaxed);
  sum_nanoseconds_.fetch_add(static_cast<uint64_t>(duration.count()), std::memory_order_relaxed);
}

void MetricsRegistry::Append(std::string_view component, std::string_view device,
                             std::string_view name, std::string_view help, const Counter* counter) {
  Entry entry = NewEntry(component, device, name, help);
  entry.counter = counter;
  entries_.push_back(std::move(entry));
}

void MetricsRegistry::Append(std::string_view component, std::string_view device,
                             std::string_view name, std::string_view help, const Gauge* gauge) {
  Entry entry = NewEntry(component, device, name, help);
  entry.gauge = gauge;
  entries_.push_back(std::move(entry));
}

void MetricsRegistry::Append(std::string_view component, std::string_view device,
                             std::string_view name, std::string_view help,
                             const LatencyHistogram* histogram) {
  Entry entry = NewEntry(component, device, name, help);
  entry.histogram = histogram;
  entries_.push_back(std::move(entry));
}

uint64_t MetricsRegistry::ValueOf(const Entry& entry) {
  return entry.counter != nullptr ? entry.counter->value() : entry.gauge->value();
}

template <class Key>
std::vector<const MetricsRegistry::Entry*> MetricsRegistry::Sorted(Key key) const {
  std::vector<const Entry*> sorted;
  sorted.reserve(entries_.size());
  for (const Entry& entry : entries_) sorted.push_back(&entry);
  std::ranges::stable_sort(sorted, {}, key);
  return sorted;
}

std::string MetricsRegistry::Prometheus() const {
  // All series of one name have to stand together, whatever device they are of.
  const std::vector<const Entry*> sorted = Sorted([](const Entry* entry) {
    return std::pair<std::string_view, std::string_view>(entry->component, entry->name);
  });
  std::string out;
  std::string previous;
  for (const Entry* entry : sorted) {
    const std::string name = fmt::format("mayfly_{}_{}", entry->component, entry->name);
    const std::string device = Escape(entry->device);
    if (name != previous) {
      const char* const type = entry->counter != nullptr ? "counter"
                               : entry->gauge != nullptr ? "gauge"
                                                         : "histogram";
      out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, entry->help, name, type);
      previous = name;
    }
    if (entry->histogram != nullptr) {
      WritePrometheus(&out, name, device, *entry->histogram);
      continue;
    }
    out += fmt::format("{}{{device=\"{}\"}} {}\n", name, device, ValueOf(*entry));
  }
  return out;
}

std::string MetricsRegistry::Json() const {
  const std::vector<const Entry*> sorted = Sorted([](const Entry* entry) {
    return std::pair<std::string_view, std::string_view>(entry->component, entry->device);
  });
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const Entry* previous = nullptr;
  writer.StartObject();
  for (const Entry* entry : sorted) {
    const bool new_component = previous == nullptr || previous->component != entry->component;
    const bool new_device = new_component || previous->device != entry->device;
    if (previous != nullptr && new_device) writer.EndObject();
    if (previous != nullptr && new_component) writer.EndObject();
    if (new_component) {
      writer.Key(entry->component.c_str());
      writer.StartObject();
    }
    if (new_device) {
      writer.Key(entry->device.c_str());
      writer.StartObject();
    }
    writer.Key(entry->name.c_str());
    if (entry->histogram != nullptr) {
      WriteJson(&writer, *entry->histogram);
    } else {
      writer.Uint64(ValueOf(*entry));
    }
    previous = entry;
  }
  if (previous != nullptr) {
    writer.EndObject();
    writer.EndObject();
  }
  writer.EndObject();
  return buffer.GetString();
}

}  // namespace mayfly
