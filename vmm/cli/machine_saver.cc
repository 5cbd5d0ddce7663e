#include "vmm/cli/machine_saver.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "snapshot/memory_writer.h"
#include "snapshot/snapshot_writer.h"
#include "snapshot/state_file.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/machine/machine_manifest.h"
#include "vmm/machine/new_life.h"

namespace mayfly {

using Clock = std::chrono::steady_clock;

Result<std::unique_ptr<MachineSaver>> MachineSaver::Create(VmSnapshotOptions options,
                                                           Manifest manifest, LogSink* log) {
  VerifiedStamps stamps = TRY(VerifiedStamps::Open(StampDirectory()));
  EventFd event = TRY(EventFd::Create());
  return std::unique_ptr<MachineSaver>(new MachineSaver(std::move(options), std::move(manifest),
                                                        std::move(stamps), std::move(event), log));
}

Result<std::unique_ptr<MachineSaver>> MachineSaver::Create(VmSnapshotOptions options,
                                                           const Confinement* confinement,
                                                           LogSink* log) {
  std::unique_ptr<MachineSaver> self(
      new MachineSaver(std::move(options), Manifest(), std::nullopt, TRY(EventFd::Create()), log));
  self->confinement_ = confinement;
  return self;
}

void MachineSaver::Attach(Machine* machine) {
  machine_ = machine;
  machine->OnDoorbell([this] {
    rung_.store(true);
    event_.Signal();
  });
}

void MachineSaver::Request() {
  requested_.store(true);
  event_.Signal();
}

std::optional<MachineEnd> MachineSaver::WaitOr(const EndLatch& other) {
  if (options_.after_ms) due_ = Clock::now() + std::chrono::milliseconds(*options_.after_ms);
  while (true) {
    if (auto end = WaitOnce(other)) return end;
    if (LookAfter()) return std::nullopt;
  }
}

int MachineSaver::MillisecondsLeft() const {
  if (!due_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due_ - Clock::now()).count();
  return static_cast<int>(std::max<int64_t>(left, 0));
}

std::optional<MachineEnd> MachineSaver::WaitOnce(const EndLatch& other) const {
  std::array<pollfd, 3> events{
      {{machine_->end_fd(), POLLIN, 0}, {other.fd(), POLLIN, 0}, {event_.fd(), POLLIN, 0}}};
  while (::poll(events.data(), events.size(), MillisecondsLeft()) < 0) CHECK(errno == EINTR);
  if (events[0].revents != 0) return machine_->end();
  if (events[1].revents != 0) return other.Get();
  return std::nullopt;
}

bool MachineSaver::LookAfter() {
  event_.Clear();
  const bool due = due_ && Clock::now() >= *due_;
  if (due) due_.reset();
  const bool requested = requested_.exchange(false);
  machine_->Pause();
  // Nothing is to be saved of a machine that has ended by now.
  if (machine_->end()) return false;
  paused_ = true;
  // A vCPU that rings while the others pause for another reason waits for an answer too.
  answers_doorbell_ = rung_.exchange(false);
  const bool heeds_doorbell = answers_doorbell_ && !std::exchange(heeded_doorbell_, true);
  const bool wanted = due || requested || heeds_doorbell;
  const Result<void> saved = wanted ? Save() : Result<void>();
  if (wanted && saved && options_.exit) return true;
  const Result<void> going_on = paused_ ? LetGoOn() : Result<void>();
  for (const auto& done : {saved, going_on}) {
    if (!done) log_->Write(LogLevel::kError, "snapshot: " + done.error().message());
  }
  return false;
}

Result<void> MachineSaver::LetGoOn() {
  Result<void> answered;
  if (answers_doorbell_) answered = machine_->SetRestorePage(TRY(NewLife()));
  paused_ = false;
  machine_->Resume();
  return answered;
}

Result<void> MachineSaver::SaveInJail() {
  if (std::exchange(saved_, true)) {
    return Fail(ErrorCode::kInvalidArgument,
                options_.directory + ": already there, or failed: a jailed machine is saved once");
  }
  const MachineState state = TRY(machine_->Save());
  TRY(WriteEveryPage(machine_->memory(), confinement_->snapshot_memory()));
  if (!options_.exit) TRY(LetGoOn());
  return confinement_->SendSnapshot(StateFile::Encode(state));
}

Result<void> MachineSaver::Save() {
  if (confinement_ != nullptr) return SaveInJail();
  SnapshotWriter writer = TRY(SnapshotWriter::Create(options_.directory));
  const MachineState state = TRY(machine_->Save());
  TRY(writer.WriteMemory(machine_->memory()));
  if (!options_.exit) TRY(LetGoOn());
  Manifest manifest = manifest_;
  SetDiskSizes(state, &manifest);
  return std::move(writer).Publish(std::move(manifest), state, &*stamps_);
}

}  // namespace mayfly
