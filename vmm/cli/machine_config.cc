#include "vmm/cli/machine_config.h"

#include "base/file.h"
#include "base/json.h"
#include "vmm/cli/arguments.h"

namespace mayfly {
namespace {

Result<VsockOptions> ParseVsock(const JsonValue& value, const std::string& directory) {
  const JsonObject object = TRY(value.AsObject());
  TRY(object.RefuseKeysOtherThan({"path", "cid", "allow"}));
  VsockOptions vsock;
  const JsonValue path = TRY(object.Require("path"));
  vsock.path = TRY(ParsePath(path, directory));
  if (const auto checked = CheckSocketPath(vsock.path); !checked) {
    return path.Refuse(checked.error().message());
  }
  if (const auto cid = object.Find("cid")) {
    vsock.cid =
        static_cast<uint32_t>(TRY(cid->AsInteger(VsockOptions::kLeastCid, VsockOptions::kMostCid)));
  }
  if (const auto allow = object.Find("allow")) {
    auto ranges = ParsePortRanges(TRY(allow->AsString()));
    if (!ranges) return allow->Refuse(ranges.error().message());
    vsock.allow = *std::move(ranges);
  }
  return vsock;
}

Result<BalloonOptions> ParseBalloon(const JsonValue& value) {
  const JsonObject object = TRY(value.AsObject());
  TRY(object.RefuseKeysOtherThan({"target_mib", "stats_ms", "deflate_on_oom"}));
  BalloonOptions balloon;
  if (const auto target = object.Find("target_mib")) {
    balloon.target_mib = TRY(target->AsInteger(0, VmOptions::kMostMemoryMib));
  }
  if (const auto stats = object.Find("stats_ms")) {
    balloon.stats_ms =
        TRY(stats->AsInteger(BalloonOptions::kLeastStatsMs, BalloonOptions::kMostStatsMs));
  }
  if (const auto deflate = object.Find("deflate_on_oom")) {
    balloon.deflate_on_oom = TRY(deflate->AsBool());
  }
  return balloon;
}

Result<void> ParseCpuAndMemory(const JsonObject& object, VmOptions& options) {
  if (const auto memory = object.Find("memory_mib")) {
    options.memory_mib =
        TRY(memory->AsInteger(VmOptions::kLeastMemoryMib, VmOptions::kMostMemoryMib));
  }
  if (const auto vcpus = object.Find("vcpus")) {
    options.vcpus = static_cast<uint32_t>(TRY(vcpus->AsInteger(1, VmOptions::kMostVcpus)));
  }
  return {};
}

Result<void> ParseKernel(const JsonObject& object, const std::string& directory,
                         VmOptions& options) {
  if (const auto kernel = object.Find("kernel")) {
    options.kernel = TRY(ParsePath(*kernel, directory));
  }
  if (const auto initrd = object.Find("initrd")) {
    options.initrd = TRY(ParsePath(*initrd, directory));
  }
  if (const auto command_line = object.Find("cmdline")) {
    options.command_line = TRY(command_line->AsString());
    if (const auto checked = CheckCommandLine(options.command_line); !checked) {
      return command_line->Refuse(checked.error().message());
    }
  }
  return {};
}

Result<void> ParseDevices(const JsonObject& object, const std::string& directory,
                          VmOptions& options) {
  if (const auto disks = object.Find("disks")) {
    const std::vector<JsonValue> elements = TRY(disks->AsArray(DiskOptions::kMostDisks));
    for (const JsonValue& element : elements) {
      options.disks.push_back(TRY(ParseDisk(element, directory)));
    }
  }
  if (const auto nets = object.Find("nets")) {
    const std::vector<JsonValue> elements = TRY(nets->AsArray(NetOptions::kMostNets));
    for (const JsonValue& element : elements) options.nets.push_back(TRY(ParseNet(element)));
  }
  if (const auto vsock = object.Find("vsock")) {
    options.vsock = TRY(ParseVsock(*vsock, directory));
  }
  if (const auto balloon = object.Find("balloon")) options.balloon = TRY(ParseBalloon(*balloon));
  if (const auto rng = object.Find("rng")) options.rng = TRY(rng->AsBool());
  return {};
}

}  // namespace

Result<VmOptions> ParseMachineConfig(std::string_view text, const std::string& name,
                                     const std::string& directory) {
  const JsonDocument document = TRY(JsonDocument::Parse(text, name, ErrorCode::kInvalidArgument));
  const JsonObject object = TRY(document.root().AsObject());
  TRY(object.RefuseKeysOtherThan({"kernel", "initrd", "cmdline", "memory_mib", "vcpus", "disks",
                                  "nets", "vsock", "balloon", "rng"}));
  VmOptions options;
  TRY(ParseKernel(object, directory, options));
  TRY(ParseCpuAndMemory(object, options));
  TRY(ParseDevices(object, directory, options));
  return options;
}

Result<VmOptions> ReadMachineConfig(const std::string& path) {
  const std::vector<uint8_t> bytes =
      TRY(WithContext(ReadFile(path, JsonDocument::kMostBytes), "config"));
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash);
  return ParseMachineConfig(AsText(bytes), path, directory);
}

}  // namespace mayfly
