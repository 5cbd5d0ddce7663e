#include "vmm/bench/bench_guest.h"

#include "snapshot/snapshot_writer.h"
#include "vmm/machine/machine_builder.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kMostSeconds{60};

}  // namespace

void GuestMarks::Note(uint32_t mark) {
  const auto now = Clock::now();
  MutexLock lock(mutex_);
  if (mark == kDoorbellBegun) begun_ = now;
  if (mark == kDoorbellDone) done_ = now;
  if (mark == kDoorbellReady) ready_ = true;
  changed_.notify_all();
}

template <class Condition>
Result<void> GuestMarks::Wait(Condition condition) {
  const auto deadline = Clock::now() + kMostSeconds;
  MutexLock lock(mutex_);
  while (!condition()) {
    if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout && !condition()) {
      return Fail(ErrorCode::kTimeout, "bench: the guest did not ring its doorbell");
    }
  }
  return {};
}

Result<void> GuestMarks::WaitReady() {
  return Wait([this]() REQUIRES(mutex_) { return ready_; });
}

Result<Clock::duration> GuestMarks::WaitBegun(Clock::time_point start) {
  TRY(Wait([this]() REQUIRES(mutex_) { return begun_.has_value(); }));
  MutexLock lock(mutex_);
  return *begun_ - start;
}

Result<GuestTimes> GuestMarks::WaitDone(Clock::time_point start) {
  TRY(Wait([this]() REQUIRES(mutex_) { return done_.has_value(); }));
  MutexLock lock(mutex_);
  return GuestTimes{*begun_ - start, *done_ - start};
}

Result<void> SaveBenchGuest(const BenchGuest& guest, const std::string& directory,
                            const VerifiedStamps& stamps) {
  MachineConfig config;
  config.kernel = guest.path;
  config.memory_bytes = guest.memory_bytes;
  config.command_line = guest.command_line;
  const auto machine = TRY(MachineBuilder(std::move(config), nullptr).Boot());
  GuestMarks marks;
  machine->OnDoorbell([&marks] { marks.Note(kDoorbellReady); });
  machine->Resume();
  TRY(marks.WaitReady());
  machine->Pause();
  const MachineState state = TRY(machine->Save());
  return WriteSnapshot(directory, Manifest{}, state, machine->memory(), &stamps);
}

}  // namespace mayfly
