#include "vmm/bench/fault_bench.h"

#include <fmt/format.h>

#include <bit>

#include "base/check.h"
#include "base/temp_dir.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/bench/bench_guest.h"
#include "vmm/bench/fault_floor.h"
#include "vmm/bench/guest/working_set.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMebibyte = 1 << 20;

uint64_t StrideOf(const FaultCase& what) {
  return what.random ? MemoryLayout::kChunk / GuestMemory::kPageSize : 1;
}

uint64_t MemoryFor(const FaultCase& what) {
  const uint64_t end = WORKING_SET + what.pages * StrideOf(what) * GuestMemory::kPageSize;
  return (end + kMebibyte - 1) / kMebibyte * kMebibyte;
}

// One snapshot, restored again and again.
class Case {
 public:
  Case(const FaultCase& what, std::string directory, const VerifiedStamps* stamps)
      : what_(what), directory_(std::move(directory)), stamps_(stamps) {}

  Result<void> RunOnce(FaultRow& row) {
    row.floor_us.push_back(PerPage(TRY(Floor())));
    row.pager_us.push_back(PerPage(TRY(Restore(row))));
    return {};
  }

 private:
  [[nodiscard]] double PerPage(Clock::duration duration) const {
    return std::chrono::duration<double, std::micro>(duration).count() / what_.pages;
  }

  Result<Clock::duration> Floor() {
    Snapshot snapshot = TRY(Snapshot::Open(directory_));
    const MachineState state = snapshot.TakeState();
    const auto memory = snapshot.TakeMemory();
    return MeasureFaultFloor(what_, state, memory->layers().lowest_fd());
  }

  Result<Clock::duration> Restore(FaultRow& row) {
    GuestMarks marks;
    Snapshot snapshot = TRY(Snapshot::Open(directory_));
    MemoryOptions options;
    options.way = MemoryWay::kUffd;
    options.stamps = stamps_;
    options.manifest = snapshot.manifest_digest();
    options.pager.run_bytes = what_.run_bytes;
    RestoredMemory memory = TRY(RestoreMemory(snapshot.TakeMemory(), options));
    const auto machine = TRY(
        MachineBuilder(MachineConfig{}, nullptr).Restore(snapshot.TakeState(), std::move(memory)));
    machine->OnMark([&marks](uint32_t mark) { marks.Note(mark); });
    machine->OnDoorbell([] {});
    const RestorePage life = TRY(NewLife());
    TRY(machine->SetRestorePage(life));
    machine->Resume();
    const GuestTimes times = TRY(marks.WaitDone(Clock::now()));
    row.faults.push_back(static_cast<double>(machine->pager()->fault_count()));
    return times.working_set - times.first_instruction;
  }

  const FaultCase what_;
  const std::string directory_;
  const VerifiedStamps* const stamps_;
};

}  // namespace

Result<std::vector<FaultRow>> RunFaultBench(const std::vector<FaultCase>& cases,
                                            const FaultBenchOptions& options) {
  const TempDir directory = TRY(TempDir::Create(options.directory + "/mayfly-bench."));
  const VerifiedStamps stamps = TRY(VerifiedStamps::Open(directory.path() + "/verified"));
  std::vector<FaultRow> rows;
  for (const FaultCase& what : cases) {
    CHECK(std::has_single_bit(what.pages));
    const std::string snapshot = fmt::format("{}/{}", directory.path(), rows.size());
    const std::string arguments =
        fmt::format("{} {} {}", what.pages, StrideOf(what), what.random ? 1 : 0);
    TRY(SaveBenchGuest({options.guest, MemoryFor(what), arguments}, snapshot, stamps));
    Case one(what, snapshot, &stamps);
    FaultRow warm_up;
    TRY(one.RunOnce(warm_up));
    FaultRow row{what, {}, {}, {}};
    for (uint32_t run = 0; run < options.runs; ++run) TRY(one.RunOnce(row));
    if (options.on_row) options.on_row(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace mayfly
