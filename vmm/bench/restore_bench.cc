#include "vmm/bench/restore_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/temp_dir.h"
#include "snapshot/snapshot_writer.h"
#include "vmm/bench/bench_guest.h"
#include "vmm/bench/guest/working_set.h"
#include "vmm/bench/restore_floor.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kPage = GuestMemory::kPageSize;

double Microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// Two and a half pages a run.
uint64_t RunsFor(uint32_t mebibytes) { return (uint64_t{mebibytes} << 20) / kPage * 2 / 5; }

WorkingSet WorkingSetOf(uint64_t runs, MemoryWay way) {
  WorkingSet set;
  uint64_t count = 0;
  for (uint64_t run = 0; run < runs; ++run) {
    const uint64_t first = WORKING_SET / kPage + run * RUN_STRIDE;
    for (uint64_t i = 0; i < RUN_PAGES(run); ++i, ++count) {
      set.Add(static_cast<uint32_t>(first + i), IS_WRITTEN(count));
    }
  }
  // A pager needs a lead, for it copies more slowly than the guest runs; mapped pages need none.
  if (way == MemoryWay::kUffd) set.first_stage = static_cast<uint32_t>(set.runs.size() / 2);
  return set;
}

// One snapshot, restored again and again.
class Case {
 public:
  Case(const RestoreCase& what, std::string directory, const VerifiedStamps* stamps)
      : what_(what),
        directory_(std::move(directory)),
        stamps_(stamps),
        working_set_(WorkingSetOf(RunsFor(what.working_set_mib), what.way)) {}

  Result<void> RunOnce(RestoreRow& row) {
    const GuestTimes floor = TRY(Floor(nullptr));
    row.floor_us.push_back(Microseconds(floor.first_instruction));
    double faults = 0;
    RestorePhases phases;
    GuestTimes times = TRY(Restore(false, &faults, &phases));
    row.first_instruction_us.push_back(Microseconds(times.first_instruction));
    row.phases.push_back(phases);
    const GuestTimes filled = TRY(Floor(&working_set_));
    row.working_set_floor_us.push_back(Microseconds(filled.working_set));
    if (what_.ahead) times = TRY(Restore(true, &faults, &phases));
    row.working_set_us.push_back(Microseconds(times.working_set));
    row.faults.push_back(faults);
    return {};
  }

 private:
  Result<GuestTimes> Floor(const WorkingSet* working_set) {
    Snapshot snapshot = TRY(Snapshot::Open(directory_));
    const MachineState state = snapshot.TakeState();
    const auto memory = snapshot.TakeMemory();
    return MeasureFloor(what_, state, memory->layers().lowest_fd(), working_set);
  }

  Result<GuestTimes> Restore(bool ahead, double* faults, RestorePhases* phases) {
    GuestMarks marks;
    const auto start = Clock::now();
    Snapshot snapshot = TRY(Snapshot::Open(directory_));
    const auto opened = Clock::now();
    MemoryOptions options;
    options.way = what_.way;
    options.stamps = stamps_;
    options.manifest = snapshot.manifest_digest();
    options.pager.run_bytes = what_.run_bytes;
    if (ahead) options.working_set = &working_set_;
    RestoredMemory memory = TRY(RestoreMemory(snapshot.TakeMemory(), options));
    const auto filled = Clock::now();
    const auto machine = TRY(
        MachineBuilder(MachineConfig{}, nullptr).Restore(snapshot.TakeState(), std::move(memory)));
    const auto built = Clock::now();
    machine->OnMark([&marks](uint32_t mark) { marks.Note(mark); });
    machine->OnDoorbell([] {});
    const RestorePage life = TRY(NewLife());
    TRY(machine->SetRestorePage(life));
    machine->Resume();
    const auto resumed = Clock::now();
    const GuestTimes times = TRY(marks.WaitDone(start));
    // The guest may be there before Resume() returns.
    const auto entered = std::max(start + times.first_instruction, built);
    const auto going = std::min(resumed, entered);
    *phases = {Microseconds(opened - start), Microseconds(filled - opened),
               Microseconds(built - filled), Microseconds(going - built),
               Microseconds(entered - going)};
    *faults =
        machine->pager() != nullptr ? static_cast<double>(machine->pager()->fault_count()) : 0;
    return times;
  }

  const RestoreCase what_;
  const std::string directory_;
  const VerifiedStamps* const stamps_;
  const WorkingSet working_set_;
};

}  // namespace

Result<std::vector<RestoreRow>> RunRestoreBench(const std::vector<RestoreCase>& cases,
                                                const RestoreBenchOptions& options) {
  const TempDir directory = TRY(TempDir::Create(options.directory + "/mayfly-bench."));
  const VerifiedStamps stamps = TRY(VerifiedStamps::Open(directory.path() + "/verified"));
  std::vector<RestoreRow> rows;
  for (const RestoreCase& what : cases) {
    const std::string snapshot =
        fmt::format("{}/{}-{}", directory.path(), what.memory_mib, what.working_set_mib);
    if (::access(snapshot.c_str(), F_OK) != 0) {
      TRY(SaveBenchGuest({options.guest, uint64_t{what.memory_mib} << 20,
                          fmt::format("{}", RunsFor(what.working_set_mib))},
                         snapshot, stamps));
    }
    Case one(what, snapshot, &stamps);
    RestoreRow warm_up;
    TRY(one.RunOnce(warm_up));
    RestoreRow row{what, {}, {}, {}, {}, {}, {}};
    for (uint32_t run = 0; run < options.runs; ++run) TRY(one.RunOnce(row));
    if (options.on_row) options.on_row(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace mayfly
