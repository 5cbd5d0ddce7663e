#include "vmm/cli/jail_request.h"

#include <fmt/format.h>

#include <CLI/App.hpp>

#include "base/json.h"
#include "jailer/jail_id.h"
#include "vmm/cli/arguments.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostMib = uint64_t{1024} * 1024;
constexpr uint64_t kMostCpuPercent = uint64_t{100} * 1024;
constexpr uint64_t kMostProcesses = 4096;
constexpr uint64_t kMostWeight = 1000;

Result<uint32_t> Small(std::string_view text, uint64_t most) {
  return static_cast<uint32_t>(TRY(ParseCount(text, 1, most)));
}

Result<void> Apply(std::string_view name, std::string_view value, JailRequest* request) {
  if (name == "memory") {
    request->limits.memory_bytes = TRY(ParseMemoryMib(value, 1, kMostMib)) << 20;
  } else if (name == "cpu") {
    request->limits.cpu_percent = TRY(Small(value, kMostCpuPercent));
  } else if (name == "processes") {
    request->limits.processes = TRY(Small(value, kMostProcesses));
  } else if (name == "io-weight") {
    request->limits.io_weight = TRY(Small(value, kMostWeight));
  } else if (name == "file-size") {
    request->file_bytes = TRY(ParseMemoryMib(value, 1, kMostMib)) << 20;
  } else {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: memory, cpu, processes, io-weight and file-size are possible",
                            Printable(name)));
  }
  return {};
}

}  // namespace

void AddJailOptions(CLI::App& command, JailArguments& arguments) {
  command.add_flag("--jail", arguments.jail, "Lock the machine's process up (docs/production.md)");
  command.add_option("--jail-id", arguments.id, "The jail's name, instead of one that is made up")
      ->type_name("NAME");
  command
      .add_option("--limit", arguments.limit,
                  "What the jail may take of the host; cpu in percent of one")
      ->type_name("memory=SIZE,cpu=N,processes=N,io-weight=N,file-size=SIZE");
  command
      .add_option("--seccomp", arguments.seccomp,
                  "What becomes of system calls that are not allowed; log is for development")
      ->type_name("kill|log")
      ->capture_default_str();
}

Result<JailRequest> PrepareJail(const JailArguments& arguments) {
  JailRequest request;
  request.wanted = arguments.jail;
  if (!request.wanted) {
    if (arguments.id.empty() && arguments.limit.empty() && arguments.seccomp == "kill") {
      return request;
    }
    return Fail(ErrorCode::kInvalidArgument, "--jail-id, --limit and --seccomp need --jail");
  }
  if (!arguments.id.empty()) {
    request.id = TRY(WithContext(JailId::Parse(arguments.id), "--jail-id")).text();
  }
  std::string_view rest = arguments.limit;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
    const size_t equals = item.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    TRY(WithContext(Apply(item.substr(0, equals), value, &request), "--limit"));
  }
  if (arguments.seccomp != "kill" && arguments.seccomp != "log") {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("--seccomp: {}: kill and log are possible",
                                                         Printable(arguments.seccomp)));
  }
  request.log = arguments.seccomp == "log";
  return request;
}

}  // namespace mayfly
