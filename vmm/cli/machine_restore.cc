#include "vmm/cli/machine_restore.h"

#include "vmm/cli/clone_function.h"
#include "vmm/cli/disk_config.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/machine_manifest.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

MachineBindings BindingsOf(const VmOptions& options) {
  MachineBindings bindings;
  for (const DiskOptions& disk : options.disks) bindings.disks.push_back(DiskConfigOf(disk));
  for (const NetOptions& net : options.nets) bindings.nets.push_back(NetConfigOf(net));
  if (const auto& vsock = options.vsock) {
    bindings.vsock = VsockConfig{.path = vsock->path, .allowed_ports = vsock->allow};
  }
  return bindings;
}

}  // namespace

Result<std::unique_ptr<MachineRestore>> MachineRestore::Open(const VmOptions& options) {
  const std::string& directory = options.restore->directory;
  Snapshot opened = TRY(Snapshot::Open(directory));
  std::unique_ptr<MachineRestore> self(new MachineRestore(directory, std::move(opened)));
  self->state = self->snapshot.TakeState();
  self->config = TRY(WithContext(
      ConfigOfClone(self->snapshot.manifest(), self->state, BindingsOf(options)), directory));
  TRY(WithContext(self->ChooseIdentity(options), directory));
  TRY(WithContext(self->ChooseMemory(*options.restore), directory));
  return self;
}

Result<void> MachineRestore::ChooseIdentity(const VmOptions& options) {
  overrides = options.restore->overrides;
  TRY(OverrideMacs(overrides, &config.nets));
  config.generation = overrides.generation;
  if (!config.vsock) {
    if (!overrides.cid) return {};
    return Fail(ErrorCode::kInvalidArgument, "--override: vsock.cid: the snapshot has no vsock");
  }
  if (options.vsock) config.vsock->new_cid = options.vsock->cid;
  if (overrides.cid) config.vsock->new_cid = overrides.cid;
  if (!config.vsock->new_cid) config.vsock->new_cid = TRY(NewCid());
  return {};
}

Result<void> MachineRestore::ChooseMemory(const VmRestoreOptions& options) {
  memory.way = WayOf(options.memory);
  memory.unverified = options.unverified;
  if (!options.unverified) {
    stamps = TRY(VerifiedStamps::Open(StampDirectory()));
    memory.stamps = &*stamps;
  }
  memory.manifest = snapshot.manifest_digest();
  image = snapshot.TakeMemory();
  return {};
}

Result<std::unique_ptr<Machine>> MachineRestore::Start(MachineConfig machine, LogSink* log) {
  RestoredMemory filled = TRY(WithContext(RestoreMemory(std::move(image), memory), directory));
  auto restored = TRY(WithContext(
      MachineBuilder(std::move(machine), log).Restore(std::move(state), std::move(filled)),
      directory));
  RestorePage life = TRY(NewLife());
  if (overrides.entropy) life.entropy = *overrides.entropy;
  TRY(restored->SetRestorePage(life));
  return restored;
}

}  // namespace mayfly
