#include "vmm/cli/clone_function.h"

#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "snapshot/verified_stamp.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/function/image.h"
#include "vmm/machine/function_manifest.h"
#include "vmm/machine/machine_manifest.h"
#include "vmm/machine/override_macs.h"

namespace mayfly {
namespace {

constexpr std::string_view kOwnPager = "auto";

// The function's image as the snapshot knew it, or why it is not.
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
  if (options.nets.empty()) config.nets = TRY(NetsOf(manifest));
  TRY(OverrideMacs(options.overrides, &config.nets));
  config.generation = options.overrides.generation;
  config.entropy = options.overrides.entropy;
  if (options.console) config.console_output = STDERR_FILENO;
  return config;
}

}  // namespace

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

Result<std::unique_ptr<FunctionRestore>> FunctionRestore::Open(const RestoreOptions& options) {
  Snapshot opened = TRY(Snapshot::Open(options.directory));
  const FunctionImage function =
      TRY(WithContext(ImageOf(opened.manifest(), options.image), options.directory));
  std::unique_ptr<FunctionRestore> self(new FunctionRestore(options.directory, std::move(opened)));
  self->config = TRY(ConfigOf(options, self->snapshot.manifest(), function));
  self->name = self->config.description.name;
  self->timeout_ms = options.timeout_ms.value_or(self->config.description.timeout_ms);
  TRY(WithContext(self->ChooseMemory(options), options.directory));
  self->state = self->snapshot.TakeState();
  return self;
}

Result<void> FunctionRestore::ChooseMemory(const RestoreOptions& options) {
  memory.way = WayOf(options.memory);
  memory.unverified = options.unverified;
  if (!options.unverified) {
    stamps = TRY(VerifiedStamps::Open(StampDirectory()));
    memory.stamps = &*stamps;
  }
  memory.manifest = snapshot.manifest_digest();
  if (options.use_working_set) working_set = TRY(snapshot.ReadWorkingSet());
  if (working_set) memory.working_set = &*working_set;
  if (!options.pager.empty()) {
    if (options.pager == kOwnPager) {
      pager = std::make_unique<PagerProcess>(TRY(PagerProcess::Start(options)));
      remote.socket = pager->socket();
    } else {
      remote.path = options.pager;
    }
    remote.deadline = std::chrono::milliseconds(options.pager_timeout_ms);
    remote.snapshot = ToHex(snapshot.manifest_digest());
    memory.remote = &remote;
  }
  memory.pager.record = options.record;
  if (options.record) memory.pager.run_bytes = GuestMemory::kPageSize;
  image = snapshot.TakeMemory();
  return {};
}

Result<std::unique_ptr<FunctionMachine>> FunctionRestore::Start(FunctionSession::LogCallback on_log,
                                                                LogSink* log) {
  RestoredMemory filled = TRY(WithContext(RestoreMemory(std::move(image), memory), directory));
  return WithContext(FunctionMachine::Restore(std::move(config), std::move(state),
                                              std::move(filled), std::move(on_log), log),
                     directory);
}

Result<FunctionClone> CloneFunction(const RestoreOptions& options,
                                    FunctionSession::LogCallback on_log, LogSink* log) {
  const auto restore = TRY(FunctionRestore::Open(options));
  auto machine = TRY(restore->Start(std::move(on_log), log));
  return FunctionClone{std::move(restore->snapshot), std::move(restore->pager), std::move(machine),
                       restore->name, restore->timeout_ms};
}

}  // namespace mayfly
