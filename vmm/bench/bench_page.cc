#include "vmm/bench/bench_page.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

#include "vmm/bench/bench_report.h"

// vmm/bench/page/embedded.S
extern "C" {
extern const char mayfly_chart_library_start[];
extern const char mayfly_chart_library_end[];
extern const char mayfly_page_script_start[];
extern const char mayfly_page_script_end[];
extern const char mayfly_page_style_start[];
extern const char mayfly_page_style_end[];
}

namespace mayfly {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

struct Phase {
  std::string_view label;
  double RestorePhases::* duration;
};

constexpr std::array<Phase, 5> kPhases{{
    {"open: manifest, state", &RestorePhases::open_us},
    {"memory", &RestorePhases::memory_us},
    {"machine: KVM, devices, vCPU", &RestorePhases::machine_us},
    {"life: entropy, clock, threads", &RestorePhases::life_us},
    {"to the first instruction", &RestorePhases::entry_us},
}};

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

void PutValues(Writer& writer, const char* key, const std::vector<double>& values) {
  writer.Key(key);
  writer.StartArray();
  for (const double value : values) writer.Double(value);
  writer.EndArray();
}

// Those of the run in the middle: phases of one restore, that add up.
RestorePhases MedianPhases(const RestoreRow& row) {
  if (row.phases.empty()) return {};
  std::vector<size_t> order(row.phases.size());
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + static_cast<ptrdiff_t>(order.size() / 2);
  std::ranges::nth_element(order, middle, {},
                           [&](size_t run) { return row.first_instruction_us[run]; });
  return row.phases[*middle];
}

void PutRow(Writer& writer, const RestoreRow& row) {
  writer.StartObject();
  writer.Key("name");
  writer.String(fmt::format("{} MiB, {}", row.what.memory_mib, NameOf(row.what)).c_str());
  PutValues(writer, "floor_us", row.floor_us);
  PutValues(writer, "first_instruction_us", row.first_instruction_us);
  PutValues(writer, "working_set_floor_us", row.working_set_floor_us);
  PutValues(writer, "working_set_us", row.working_set_us);
  const RestorePhases phases = MedianPhases(row);
  writer.Key("phases_us");
  writer.StartArray();
  for (const Phase& phase : kPhases) writer.Double(phases.*phase.duration);
  writer.EndArray();
  writer.EndObject();
}

// Names of our own and numbers alone: nothing in it can end the element that it stands in.
std::string DataJson(const std::vector<RestoreRow>& rows) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetMaxDecimalPlaces(1);
  writer.StartObject();
  writer.Key("phases");
  writer.StartArray();
  for (const Phase& phase : kPhases) {
    writer.StartObject();
    writer.Key("label");
    writer.String(std::string(phase.label).c_str());
    writer.EndObject();
  }
  writer.EndArray();
  writer.Key("rows");
  writer.StartArray();
  for (const RestoreRow& row : rows) PutRow(writer, row);
  writer.EndArray();
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

std::string TableHtml(const std::vector<RestoreRow>& rows) {
  std::string html =
      "<table><thead><tr><th>memory, way<th>runs<th>floor<th>first instruction<th>p99<th>ratio"
      "<th>set, floor<th>set<th>p99<th>ratio<th>faults<tbody>\n";
  for (const RestoreRow& row : rows) {
    const double floor = Percentile(row.floor_us, 0.5);
    const double first = Percentile(row.first_instruction_us, 0.5);
    const double set_floor = Percentile(row.working_set_floor_us, 0.5);
    const double set = Percentile(row.working_set_us, 0.5);
    html += fmt::format(
        "<tr><td>{} MiB, {}<td>{}<td>{:.0f}<td>{:.0f}<td>{:.0f}<td>{:.2f}<td>{:.0f}<td>{:.0f}"
        "<td>{:.0f}<td>{:.2f}<td>{:.0f}\n",
        row.what.memory_mib, NameOf(row.what), row.floor_us.size(), floor, first,
        Percentile(row.first_instruction_us, 0.99), first / floor, set_floor, set,
        Percentile(row.working_set_us, 0.99), set / set_floor, Percentile(row.faults, 0.5));
  }
  return html + "</table>\n";
}

std::string FactsHtml(const MachineFacts& facts) {
  std::string html = "<dl>\n";
  for (const auto& [name, value] : facts) {
    html += fmt::format("<dt>{}<dd>{}\n", Escaped(name), Escaped(value));
  }
  return html + "</dl>\n";
}

}  // namespace

std::string RestorePageHtml(const std::vector<RestoreRow>& rows, const MachineFacts& facts) {
  const std::string_view library(mayfly_chart_library_start, mayfly_chart_library_end);
  const std::string_view script(mayfly_page_script_start, mayfly_page_script_end);
  const std::string_view style(mayfly_page_style_start, mayfly_page_style_end);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<title>mayfly bench restore</title>\n<style>\n{}</style></head><body>\n"
      "<h1>mayfly bench restore</h1>\n"
      "<p>Medians in microseconds, all from the call that restores. The floor is a bare sequence "
      "of "
      "system calls on the same files, in turns with mayfly in every run. The page cache is warm; "
      "the teardown of machines is not counted.</p>\n"
      "{}<h2>Time line of one restore</h2>\n<p>The restore in the middle of each row, to the "
      "guest's first instruction, nothing filled ahead.</p>\n<div id=\"time-line\"></div>\n"
      "<h2>Distributions</h2>\n<div id=\"distributions\"></div>\n<h2>Machine</h2>\n{}"
      "<script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n"
      "<script>{}</script>\n</body></html>\n",
      style, TableHtml(rows), FactsHtml(facts), DataJson(rows), library, script);
}

}  // namespace mayfly
