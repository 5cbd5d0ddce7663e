#include "guest-init/guest_platform.h"

#include <algorithm>

#include "guest-init/mounts.h"
#include "guest-init/network.h"
#include "guest-init/system.h"

namespace mayfly::init {
namespace {

// What init may need beside the handler: an event, an answer, and the answer on its way out, six
// megabytes each, with what vsock and the kernel need to carry them. Small machines give a quarter.
constexpr uint64_t kReservedBytes = 32 << 20;

// The time for the handler's processes to leave the kernel, which they do at once unless they wait
// for a disk.
constexpr std::chrono::milliseconds kFreezeLimit{2000};

uint64_t HandlerMemory(uint64_t total) { return total - std::min(kReservedBytes, total / 4); }

}  // namespace

Result<Platform::Place> GuestPlatform::Prepare(const Function& function) {
  if (function.wall_clock_ns != 0) TRY(SetWallClock(function.wall_clock_ns));
  TRY(SetHostName(function.name));
  const uint64_t memory = HandlerMemory(TRY(TotalMemory()));
  TRY(MountFunction(function.device, memory));
  TRY(ConfigureInterfaces(function.network));
  TRY(WriteResolvConf(kFunctionRoot, function.network));
  cgroup_ = TRY(HandlerCgroup::Create("/sys/fs/cgroup", memory));
  if (!cgroup_->missing().empty()) {
    return Fail(ErrorCode::kUnsupported,
                "the kernel lacks control group controllers:" + cgroup_->missing());
  }
  Place place;
  place.jail.root = kFunctionRoot;
  place.jail.cgroup_procs = cgroup_->procs_path();
  place.jail.drop_privileges = true;
  place.task_directory = "/var/task";
  place.runner = "/run/mayfly/bin/handler";
  place.runtime_api_port = kRuntimeApiPort;
  return place;
}

void GuestPlatform::KillHandler() {
  if (cgroup_) cgroup_->Kill();
}

bool GuestPlatform::OutOfMemory() { return cgroup_ && cgroup_->OomKills() > 0; }

uint64_t GuestPlatform::PeakMemory() { return cgroup_ ? cgroup_->PeakMemory() : 0; }

Result<void> GuestPlatform::PrepareSnapshot() {
  TRY(cgroup_->Freeze(kFreezeLimit));
  if (!snapshot_point_) snapshot_point_ = TRY(SnapshotPoint::Create());
  TRY(PopulateInit());
  return snapshot_point_->DropUnusedMemory();
}

Result<Platform::Life> GuestPlatform::PassSnapshotPoint() { return snapshot_point_->Pass(); }

Result<void> GuestPlatform::Resume(const std::vector<NetworkInterface>& network) {
  TRY(ConfigureInterfaces(network));
  TRY(WriteResolvConf(kFunctionRoot, network));
  return cgroup_->Thaw();
}

void GuestPlatform::PowerOff() { PowerOffMachine(); }

}  // namespace mayfly::init
