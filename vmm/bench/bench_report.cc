#include "vmm/bench/bench_report.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <cmath>

namespace mayfly {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

double Median(const std::vector<double>& values) { return Percentile(values, 0.5); }

}  // namespace

void PutPercentiles(Writer& writer, const char* key, const std::vector<double>& values) {
  writer.Key(key);
  writer.StartObject();
  for (const auto& [name, share] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}) {
    writer.Key(name);
    writer.Double(Percentile(values, share));
  }
  writer.EndObject();
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto rank =
      static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)));
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(rank));
  return values[rank];
}

std::string NameOf(const RestoreCase& what) {
  std::string name = "map";
  if (what.way == MemoryWay::kUffd) name = "uffd";
  if (what.way == MemoryWay::kEager) return "eager";
  if (what.ahead) return name;
  name += "-lazy";
  if (what.way == MemoryWay::kUffd && what.run_bytes == GuestMemory::kPageSize) name += "-page";
  return name;
}

std::string RestoreTable(const std::vector<RestoreRow>& rows) {
  std::string text =
      fmt::format("{:>7} {:14} {:>8} {:>7} {:>7} {:>6} {:>9} {:>9} {:>7} {:>7}\n", "memory", "way",
                  "floor", "first", "p99", "ratio", "set floor", "set", "ratio", "faults");
  for (const RestoreRow& row : rows) {
    const double floor = Median(row.floor_us);
    const double first = Median(row.first_instruction_us);
    const double set_floor = Median(row.working_set_floor_us);
    const double set = Median(row.working_set_us);
    text += fmt::format(
        "{:>4}MiB {:14} {:>8.0f} {:>7.0f} {:>7.0f} {:>6.2f} {:>9.0f} {:>9.0f} "
        "{:>7.2f} {:>7.0f}\n",
        row.what.memory_mib, NameOf(row.what), floor, first,
        Percentile(row.first_instruction_us, 0.99), first / floor, set_floor, set, set / set_floor,
        Median(row.faults));
  }
  return text;
}

std::string RestoreJson(const std::vector<RestoreRow>& rows) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetMaxDecimalPlaces(1);
  writer.StartArray();
  for (const RestoreRow& row : rows) {
    writer.StartObject();
    writer.Key("memory_mib");
    writer.Uint(row.what.memory_mib);
    writer.Key("way");
    writer.String(NameOf(row.what).c_str());
    writer.Key("working_set_mib");
    writer.Uint(row.what.working_set_mib);
    writer.Key("page_cache");
    writer.String("warm");
    writer.Key("runs");
    writer.Uint64(row.floor_us.size());
    PutPercentiles(writer, "floor_us", row.floor_us);
    PutPercentiles(writer, "first_instruction_us", row.first_instruction_us);
    PutPercentiles(writer, "working_set_us", row.working_set_us);
    PutPercentiles(writer, "working_set_floor_us", row.working_set_floor_us);
    PutPercentiles(writer, "faults", row.faults);
    writer.EndObject();
  }
  writer.EndArray();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

std::string NameOf(const FaultCase& what) { return what.random ? "random" : "sequential"; }

std::string FaultTable(const std::vector<FaultRow>& rows) {
  std::string text = fmt::format("{:10} {:>6} {:>7} {:>8} {:>8} {:>8} {:>7}\n", "pattern", "fill",
                                 "pages", "floor", "pager", "ratio", "faults");
  for (const FaultRow& row : rows) {
    const double floor = Median(row.floor_us);
    const double pager = Median(row.pager_us);
    text += fmt::format("{:10} {:>3}KiB {:>7} {:>8.1f} {:>8.1f} {:>8.2f} {:>7.0f}\n",
                        NameOf(row.what), row.what.run_bytes >> 10, row.what.pages, floor, pager,
                        pager / floor, Median(row.faults));
  }
  return text;
}

std::string FaultJson(const std::vector<FaultRow>& rows) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetMaxDecimalPlaces(2);
  writer.StartArray();
  for (const FaultRow& row : rows) {
    writer.StartObject();
    writer.Key("pattern");
    writer.String(NameOf(row.what).c_str());
    writer.Key("run_bytes");
    writer.Uint64(row.what.run_bytes);
    writer.Key("pages");
    writer.Uint(row.what.pages);
    writer.Key("runs");
    writer.Uint64(row.floor_us.size());
    PutPercentiles(writer, "floor_us", row.floor_us);
    PutPercentiles(writer, "pager_us", row.pager_us);
    PutPercentiles(writer, "faults", row.faults);
    writer.EndObject();
  }
  writer.EndArray();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace mayfly
