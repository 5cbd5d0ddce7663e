#include "vmm/bench/clone_source.h"

#include "snapshot/snapshot_directory.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

constexpr char kSnapshot[] = "/snapshot";

}  // namespace

Result<std::unique_ptr<CloneSource>> CloneSource::Create(const std::string& guest,
                                                         const std::string& directory) {
  TempDir temporary = TRY(TempDir::Create(directory + "/mayfly-bench."));
  const VerifiedStamps stamps = TRY(VerifiedStamps::Open(temporary.path() + "/verified"));
  const std::string path = temporary.path() + kSnapshot;
  TRY(SaveBenchGuest({guest, kMemoryBytes, "0"}, path, stamps));
  Snapshot snapshot = TRY(Snapshot::Open(path));
  MachineState state = snapshot.TakeState();
  return std::unique_ptr<CloneSource>(
      new CloneSource(std::move(temporary), std::move(state), snapshot.TakeMemory()));
}

std::string CloneSource::memory_path() const {
  return directory_.path() + kSnapshot + "/" + SnapshotFiles::kMemory;
}

Result<std::unique_ptr<Machine>> CloneSource::Clone(std::unique_ptr<Shell> shell,
                                                    GuestMarks* marks) const {
  return Clone(std::move(shell), [marks](const Machine&, uint32_t mark) { marks->Note(mark); }, {});
}

Result<std::unique_ptr<Machine>> CloneSource::Clone(std::unique_ptr<Shell> shell, OnMark on_mark,
                                                    const std::function<void()>& begin) const {
  std::unique_ptr<Machine> machine;
  MachineBuilder builder(MachineConfig{}, nullptr);
  if (shell) {
    TRY(shell->Fill(memory_fd()));
    machine = TRY(std::move(builder).Restore(state_, std::move(shell)));
  } else {
    RestoredMemory memory;
    memory.memory = TRY(GuestMemory::MapPrivate(state_.memory_bytes, memory_fd()));
    machine = TRY(std::move(builder).Restore(state_, std::move(memory)));
  }
  machine->OnMark([self = machine.get(), on_mark = std::move(on_mark)](uint32_t mark) {
    on_mark(*self, mark);
  });
  machine->OnDoorbell([] {});
  const RestorePage life = TRY(NewLife());
  TRY(machine->SetRestorePage(life));
  if (begin) begin();
  machine->Resume();
  return machine;
}

}  // namespace mayfly
