#include "vmm/machine/machine_restore.h"

#include "vmm/machine/machine_builder.h"
#include "vmm/machine/new_life.h"
#include "vmm/machine/override_macs.h"

namespace mayfly {

Result<std::unique_ptr<MachineRestore>> MachineRestore::Open(const std::string& directory,
                                                             MachineBindings bindings,
                                                             Options options) {
  Snapshot opened = TRY(Snapshot::Open(directory));
  std::unique_ptr<MachineRestore> self(new MachineRestore(directory, std::move(opened)));
  self->options = std::move(options);
  self->state = self->snapshot.TakeState();
  self->config = TRY(WithContext(
      ConfigOfClone(self->snapshot.manifest(), self->state, std::move(bindings)), directory));
  TRY(WithContext(self->ChooseIdentity(), directory));
  self->ChooseMemory();
  return self;
}

Result<void> MachineRestore::ChooseIdentity() {
  const Overrides& overrides = options.overrides;
  TRY(OverrideMacs(overrides, &config.nets));
  config.generation = overrides.generation;
  if (!config.vsock) {
    if (!overrides.cid) return {};
    return Fail(ErrorCode::kInvalidArgument, "override: vsock.cid: the snapshot has no vsock");
  }
  if (overrides.cid) config.vsock->new_cid = overrides.cid;
  if (!config.vsock->new_cid) config.vsock->new_cid = TRY(NewCid());
  return {};
}

void MachineRestore::ChooseMemory() {
  memory.way = options.way;
  memory.unverified = options.unverified;
  if (options.stamps) memory.stamps = &*options.stamps;
  memory.manifest = snapshot.manifest_digest();
  image = snapshot.TakeMemory();
}

Result<std::unique_ptr<Machine>> MachineRestore::Start(MachineConfig machine, LogSink* log) {
  RestoredMemory filled = TRY(WithContext(RestoreMemory(std::move(image), memory), directory));
  auto restored = TRY(WithContext(
      MachineBuilder(std::move(machine), log).Restore(std::move(state), std::move(filled)),
      directory));
  RestorePage life = TRY(NewLife());
  if (options.overrides.entropy) life.entropy = *options.overrides.entropy;
  TRY(restored->SetRestorePage(life));
  return restored;
}

}  // namespace mayfly
