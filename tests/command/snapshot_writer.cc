#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/mutex.h"
#include "snapshot/garbage.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_writer.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/new_life.h"

// Does one thing to snapshots, for tests that make system calls fail meanwhile:
//
//   write DIR            a small snapshot of memory that no guest has touched
//   layer PARENT DIR     one over another, two of whose pages have changed
//   flatten FROM TO
//   gc DIR KEEP
//   boot GUEST DIR       a snapshot of a test guest that has rung its doorbell
//   restore DIR WAY      lets a machine of that go on to its end, which it prints
namespace mayfly {
namespace {

constexpr uint64_t kSize = 128 << 10;

MachineState SmallState() {
  MachineState state;
  state.memory_bytes = kSize;
  state.vcpus.resize(1);
  return state;
}

Result<void> Write(const std::string& directory) {
  const auto memory = TRY(GuestMemory::Create(kSize));
  if (!memory->Fill(GuestAddress{0x3000}, 0x5a, 0x2000)) return Fail(ErrorCode::kHost, "fill");
  return WriteSnapshot(directory, Manifest{}, SmallState(), *memory, nullptr);
}

Result<void> Layer(const std::string& parent, const std::string& directory) {
  Snapshot below = TRY(Snapshot::Open(parent));
  const auto clone = TRY(RestoreMemory(below.TakeMemory(), {MemoryWay::kMap}));
  if (!clone.memory->Fill(GuestAddress{0x4000}, 0xa5, 0x2000)) {
    return Fail(ErrorCode::kHost, "fill");
  }
  Snapshot again = TRY(Snapshot::Open(parent));
  SnapshotWriter writer = TRY(SnapshotWriter::Create(directory, std::move(again)));
  TRY(writer.WriteMemory(*clone.memory));
  return std::move(writer).Publish(Manifest{}, SmallState(), nullptr);
}

Result<void> CollectAllBut(const std::string& directory, const std::string& keep) {
  GarbageOptions options{directory, {{keep}}, false};
  TRY(CollectGarbage(options));
  return {};
}

Result<void> Boot(const std::string& guest, const std::string& directory) {
  MachineConfig config;
  config.kernel = guest;
  config.command_line = "1 1";
  const auto machine = TRY(MachineBuilder(std::move(config), nullptr).Boot());
  Mutex mutex;
  ConditionVariable changed;
  bool rung = false;
  machine->OnDoorbell([&] {
    MutexLock lock(mutex);
    rung = true;
    changed.notify_all();
  });
  machine->Resume();
  {
    MutexLock lock(mutex);
    while (!rung) changed.wait(mutex);
  }
  machine->Pause();
  const MachineState state = TRY(machine->Save());
  return WriteSnapshot(directory, Manifest{}, state, machine->memory(), nullptr);
}

Result<void> Restore(const std::string& directory, const std::string& way) {
  Snapshot snapshot = TRY(Snapshot::Open(directory));
  const MemoryOptions options{way == "map"    ? MemoryWay::kMap
                              : way == "uffd" ? MemoryWay::kUffd
                                              : MemoryWay::kEager};
  RestoredMemory memory = TRY(RestoreMemory(snapshot.TakeMemory(), options));
  MachineConfig config;
  config.serial_output = STDOUT_FILENO;
  const auto machine = TRY(
      MachineBuilder(std::move(config), nullptr).Restore(snapshot.TakeState(), std::move(memory)));
  const RestorePage life = TRY(NewLife());
  TRY(machine->SetRestorePage(life));
  machine->Resume();
  const MachineEnd end = machine->Wait();
  machine->Stop();
  if (end.reason == EndReason::kPowerOff) return {};
  return Fail(ErrorCode::kGuest, std::string(NameOf(end.reason)) + ": " + end.detail);
}

Result<void> Do(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string first = argc > 2 ? argv[2] : "";
  const std::string second = argc > 3 ? argv[3] : "";
  if (what == "write") return Write(first);
  if (what == "layer") return Layer(first, second);
  if (what == "flatten") return FlattenSnapshot(first, second, nullptr);
  if (what == "gc") return CollectAllBut(first, second);
  if (what == "boot") return Boot(first, second);
  if (what == "restore") return Restore(first, second);
  return Fail(ErrorCode::kInvalidArgument, "what?");
}

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  const auto done = mayfly::Do(argc, argv);
  if (done) return 0;
  (void)std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return 1;
}
