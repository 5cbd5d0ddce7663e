#include "vmm/cli/clone_function.h"

#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "snapshot/verified_stamp.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/function/image.h"

namespace mayfly {
namespace {

MemoryWay WayOf(FillMemory memory) {
  switch (memory) {
    case FillMemory::kUffd:
      return MemoryWay::kUffd;
    case FillMemory::kEager:
      return MemoryWay::kEager;
    default:
      return MemoryWay::kMap;
  }
}

// The function's image as the snapshot knew it, or why it is not.
Result<FunctionImage> OpenImage(const Manifest& manifest, const std::string& elsewhere) {
  if (!manifest.function || manifest.disks.size() != 1) {
    return Fail(ErrorCode::kInvalidArgument, "not a function's snapshot");
  }
  FunctionImage image =
      TRY(FunctionImage::Open(elsewhere.empty() ? manifest.disks[0].path : elsewhere));
  if (image.layout().image_digest != manifest.function->image_digest) {
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: its digest is {}, the snapshot was made with {}", image.path(),
                    ToHex(image.layout().image_digest), ToHex(manifest.function->image_digest)));
  }
  return image;
}

Result<FunctionCloneConfig> ConfigOf(const RestoreOptions& options, const Manifest& manifest,
                                     const FunctionImage& image) {
  FunctionCloneConfig config;
  config.description =
      TRY(ParseFunctionDescription(manifest.function->description, options.directory));
  config.image_name = image.path();
  config.image = TRY(image.fd().Duplicate());
  if (!options.nets.empty() && options.nets.size() != manifest.nets.size()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--net: {} devices, the snapshot has {}", options.nets.size(),
                            manifest.nets.size()));
  }
  for (const NetOptions& net : options.nets) {
    config.nets.push_back(NetConfigOf(net));
    config.addresses.push_back(net.address);
  }
  if (options.nets.empty()) {
    for (const Manifest::Net& net : manifest.nets) config.nets.emplace_back().tap = net.tap;
  }
  if (options.console) config.console_output = STDERR_FILENO;
  return config;
}

Result<RestoredMemory> OpenMemory(const RestoreOptions& options, Snapshot& snapshot) {
  MemoryOptions memory;
  memory.way = WayOf(options.memory);
  memory.unverified = options.unverified;
  std::optional<VerifiedStamps> stamps;
  if (!options.unverified) {
    stamps = TRY(VerifiedStamps::Open(StampDirectory()));
    memory.stamps = &*stamps;
  }
  memory.manifest = snapshot.manifest_digest();
  std::optional<WorkingSet> working_set;
  if (options.use_working_set) working_set = TRY(snapshot.ReadWorkingSet());
  if (working_set) memory.working_set = &*working_set;
  RemotePager::Options remote;
  if (!options.pager.empty()) {
    remote = {options.pager, std::chrono::milliseconds(options.pager_timeout_ms),
              ToHex(snapshot.manifest_digest())};
    memory.remote = &remote;
  }
  memory.pager.record = options.record;
  if (options.record) memory.pager.run_bytes = GuestMemory::kPageSize;
  return RestoreMemory(snapshot.TakeMemory(), memory);
}

}  // namespace

Result<FunctionClone> CloneFunction(const RestoreOptions& options,
                                    FunctionSession::LogCallback on_log, LogSink* log) {
  Snapshot snapshot = TRY(Snapshot::Open(options.directory));
  const FunctionImage image =
      TRY(WithContext(OpenImage(snapshot.manifest(), options.image), options.directory));
  FunctionCloneConfig config = TRY(ConfigOf(options, snapshot.manifest(), image));
  const std::string name = config.description.name;
  const uint32_t timeout_ms = options.timeout_ms.value_or(config.description.timeout_ms);
  RestoredMemory memory = TRY(WithContext(OpenMemory(options, snapshot), options.directory));
  auto machine =
      TRY(WithContext(FunctionMachine::Restore(std::move(config), snapshot.TakeState(),
                                               std::move(memory), std::move(on_log), log),
                      options.directory));
  return FunctionClone{std::move(snapshot), std::move(machine), name, timeout_ms};
}

}  // namespace mayfly
