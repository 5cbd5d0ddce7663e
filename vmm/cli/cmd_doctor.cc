#include "vmm/cli/cmd_doctor.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <CLI/App.hpp>
#include <algorithm>

#include "vmm/cli/output.h"
#include "vmm/cli/production_report.h"

namespace mayfly {
namespace {

std::string FormatJson(const HostReport& report) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto text = [&writer](std::string_view value) {
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  writer.StartObject();
  writer.Key("can_run");
  writer.Bool(report.CanRun());
  writer.Key("linux_guests");
  writer.Bool(report.linux_guests);
  writer.Key("checks");
  writer.StartArray();
  for (const HostCheck& check : report.checks) {
    writer.StartObject();
    writer.Key("name");
    text(check.name);
    writer.Key("status");
    text(NameOf(check.status));
    writer.Key("found");
    text(check.found);
    writer.Key("advice");
    text(check.advice);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

std::string FormatChecks(const HostReport& report) {
  std::string lines;
  for (const HostCheck& check : report.checks) {
    lines += fmt::format("{:<8} {:<26} {}", NameOf(check.status), check.name, check.found);
    if (!check.advice.empty()) lines += fmt::format(" ({})", check.advice);
    lines += '\n';
  }
  return lines;
}

std::string FormatLines(const HostReport& report) {
  const char* verdict = "Machines can run here.\n";
  if (!report.CanRun()) {
    verdict = "No machine can run here.\n";
  } else if (!report.linux_guests) {
    verdict = "Machines can run here, but no Linux guests: scripts/lab runs those.\n";
  }
  return FormatChecks(report) + verdict;
}

}  // namespace

void AddDoctorCommand(CLI::App& app, DoctorArguments& arguments) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this host can do");
  command->add_flag("--json", arguments.json, "Print the report as JSON");
  command->add_flag("--production", arguments.production,
                    "Check its set-up for guests that nobody trusts (docs/production.md)");
  command->footer(
      "Examples:\n  mayfly doctor\n  mayfly doctor --json\n  mayfly doctor --production\n");
}

std::string FormatHostReport(const HostReport& report, bool json) {
  return json ? FormatJson(report) : FormatLines(report);
}

namespace {

int RunProductionDoctor(bool json) {
  const HostReport report = InspectProduction("");
  const bool good = std::ranges::all_of(
      report.checks, [](const HostCheck& check) { return check.status == CheckStatus::kOk; });
  const std::string text = json ? FormatJson(report) : FormatChecks(report);
  const int printed = PrintText(text);
  if (printed != 0) return printed;
  return static_cast<int>(good ? ExitCode::kSuccess : ExitCode::kHost);
}

}  // namespace

int RunDoctor(const DoctorArguments& arguments) {
  if (arguments.production) return RunProductionDoctor(arguments.json);
  const HostReport report = InspectHost("");
  const int printed = PrintText(FormatHostReport(report, arguments.json));
  if (printed != 0) return printed;
  return static_cast<int>(report.CanRun() ? ExitCode::kSuccess : ExitCode::kHost);
}

}  // namespace mayfly
