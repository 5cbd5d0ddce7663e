#include "vmm/machine/function_template.h"

#include <fmt/format.h>

#include "snapshot/fill_memory.h"
#include "vmm/machine/function_manifest.h"
#include "vmm/machine/machine_manifest.h"
#include "vmm/machine/override_macs.h"

namespace mayfly {
namespace {

// The function's image as the snapshot knew it, or why it is not.
Result<std::unique_ptr<MemoryTemplate>> TemplateMemory(Snapshot& snapshot,
                                                       FunctionTemplate::Options& options) {
  std::unique_ptr<MemoryImage> image = snapshot.TakeMemory();
  if (options.memory.valid()) {
    return MemoryTemplate::Adopt(std::move(options.memory), image->bytes());
  }
  MemoryOptions check;
  check.unverified = options.unverified;
  check.stamps = options.stamps;
  check.manifest = snapshot.manifest_digest();
  return MemoryTemplate::Create(std::move(image), check);
}

}  // namespace

Result<std::unique_ptr<FunctionTemplate>> FunctionTemplate::Open(const std::string& path,
                                                                 Options options) {
  Snapshot snapshot = TRY(Snapshot::Open(path));
  FunctionImage image = TRY(WithContext(ImageOf(snapshot.manifest(), options.image), path));
  FunctionDescription description =
      TRY(ParseFunctionDescription(snapshot.manifest().function->description, path));
  const std::string digest = ToHex(snapshot.manifest_digest());
  const bool adopted = options.memory.valid();
  if (options.memory.valid() && digest != options.manifest) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: manifest: its digest is {}, the template was made of {}", path,
                            digest, options.manifest));
  }
  auto memory = TRY(WithContext(TemplateMemory(snapshot, options), path));
  std::unique_ptr<FunctionTemplate> self(
      new FunctionTemplate(path, snapshot.manifest(), snapshot.TakeState(), std::move(image),
                           std::move(description), std::move(memory)));
  self->manifest_digest_ = digest;
  if (options.use_working_set) self->working_set_ = TRY(snapshot.ReadWorkingSet());
  if (!adopted) self->held_ = std::move(snapshot);
  return self;
}

Result<FunctionCloneConfig> FunctionTemplate::ConfigOf(Clone clone) const {
  FunctionCloneConfig config;
  config.description = description_;
  config.image_name = image_.path();
  config.image = TRY(image_.fd().Duplicate());
  config.console_output = clone.console_output;
  if (!clone.nets.empty() && clone.nets.size() != manifest_.nets.size()) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("network: {} devices, the snapshot has {}",
                                                         clone.nets.size(), manifest_.nets.size()));
  }
  config.nets = clone.nets.empty() ? TRY(NetsOf(manifest_)) : std::move(clone.nets);
  config.addresses = std::move(clone.addresses);
  config.shell = std::move(clone.shell);
  config.jail = std::move(clone.jail);
  TRY(OverrideMacs(clone.overrides, &config.nets));
  config.generation = clone.overrides.generation;
  config.entropy = clone.overrides.entropy;
  return config;
}

Result<RestoredMemory> FunctionTemplate::MemoryOf(MemoryWay way, bool record) const {
  MemoryOptions options;
  options.way = way;
  if (working_set_) options.working_set = &*working_set_;
  options.pager.record = record;
  if (record) options.pager.run_bytes = GuestMemory::kPageSize;
  return memory_->Clone(options);
}

Result<std::unique_ptr<FunctionMachine>> FunctionTemplate::Restore(
    Clone clone, FunctionSession::LogCallback on_log, LogSink* log) const {
  RestoredMemory memory;
  if (clone.shell) {
    TRY(WithContext(clone.shell->Fill(memory_->fd()), path_));
    if (working_set_) PopulateAhead(clone.shell->memory(), *working_set_);
  } else {
    memory = TRY(WithContext(MemoryOf(clone.way, clone.record), path_));
  }
  FunctionCloneConfig config = TRY(WithContext(ConfigOf(std::move(clone)), path_));
  return WithContext(FunctionMachine::Restore(std::move(config), state_, std::move(memory),
                                              std::move(on_log), log),
                     path_);
}

}  // namespace mayfly
