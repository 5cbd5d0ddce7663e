#include "devices/virtio/mmio_transport.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/mmio_registers.h"

namespace mayfly {
namespace {

using namespace mmio;

// The steps that a driver takes (3.1.1). Anything else that it writes to Status is ignored, but for
// 0, a reset, and FAILED, which it may add at any time.
//
//   0 --ACKNOWLEDGE--> 1 --DRIVER--> 3 --FEATURES_OK--> 11 --DRIVER_OK--> 15 (live)
//
// FEATURES_OK is taken only if the features are acceptable (2.2.2). The device adds
// DEVICE_NEEDS_RESET to 15.
struct StatusStep {
  uint32_t from;
  uint32_t to;
};
constexpr uint32_t kAcknowledged = kStatusAcknowledge;
constexpr uint32_t kDriverFound = kAcknowledged | kStatusDriver;
constexpr uint32_t kNegotiated = kDriverFound | kStatusFeaturesOk;
constexpr uint32_t kLive = kNegotiated | kStatusDriverOk;
constexpr std::array<StatusStep, 4> kStatusSteps{{
    {0, kAcknowledged},
    {kAcknowledged, kDriverFound},
    {kDriverFound, kNegotiated},
    {kNegotiated, kLive},
}};

bool IsStatus(uint32_t status) {
  const uint32_t steps = status & ~(kStatusFailed | kStatusNeedsReset);
  const bool reached =
      steps == 0 || std::ranges::find(kStatusSteps, steps, &StatusStep::to) != kStatusSteps.end();
  return reached && ((status & kStatusNeedsReset) == 0 || steps == kLive);
}

// One 32-bit half of a 64-bit register.
uint64_t WithLow(uint64_t value, uint32_t low) { return (value & ~0xffff'ffffULL) | low; }
uint64_t WithHigh(uint64_t value, uint32_t high) {
  return (value & 0xffff'ffffULL) | uint64_t{high} << 32;
}

uint32_t AllQueues(const VirtioDevice& device) {
  return static_cast<uint32_t>((1ULL << device.queue_sizes().size()) - 1);
}

Result<VirtqueueState> ToVirtqueueState(const MmioQueueState& queue) {
  if (!queue.ready) return VirtqueueState{};
  if (queue.size == 0 || queue.size > UINT16_MAX) {
    return Fail(ErrorCode::kCorrupt, fmt::format("virtqueue: impossible size {}", queue.size));
  }
  VirtqueueState state;
  state.size = static_cast<uint16_t>(queue.size);
  state.descriptor_table = queue.descriptor_table;
  state.avail_ring = queue.avail_ring;
  state.used_ring = queue.used_ring;
  state.next_avail = queue.next_avail;
  state.next_used = queue.next_used;
  state.signalled_used = queue.signalled_used;
  state.signalled_used_valid = queue.signalled_used_valid;
  return state;
}

}  // namespace

Result<std::unique_ptr<MmioTransport>> MmioTransport::Create(Resources resources,
                                                             const State& state) {
  CHECK(resources.device != nullptr && resources.memory != nullptr);
  CHECK(resources.interrupt != nullptr && resources.loop != nullptr);
  CHECK(resources.device->queue_sizes().size() <= 32);  // Bits of pending_kicks_.
  const std::string name = resources.name;
  EventFd kick_event = TRY(WithContext(EventFd::Create(), name));
  EventFd notify_event = TRY(WithContext(EventFd::Create(), name));
  std::unique_ptr<MmioTransport> transport(
      new MmioTransport(std::move(resources), std::move(kick_event), std::move(notify_event)));
  MmioTransport* const self = transport.get();
  self->kick_watch_ =
      TRY(WithContext(self->loop_->Watch(self->kick_event_.fd(), EPOLLIN,
                                         [self](uint32_t) { self->ProcessPending(); }),
                      name));
  self->notify_watch_ =
      TRY(WithContext(self->loop_->Watch(self->notify_event_.fd(), EPOLLIN,
                                         [self](uint32_t) { self->ProcessPending(); }),
                      name));
  MutexLock lock(self->mutex_);
  TRY(WithContext(self->RestoreLocked(state), name));
  return transport;
}

MmioTransport::MmioTransport(Resources resources, EventFd kick_event, EventFd notify_event)
    : name_(std::move(resources.name)),
      memory_(resources.memory),
      interrupt_(resources.interrupt),
      loop_(resources.loop),
      kick_mode_(resources.kick_mode),
      log_(resources.log, name_),
      kick_event_(std::move(kick_event)),
      notify_event_(std::move(notify_event)),
      device_(std::move(resources.device)) {}

MmioTransport::~MmioTransport() {
  loop_->Remove(kick_watch_);
  loop_->Remove(notify_watch_);
}

void MmioTransport::Read(uint64_t offset, std::span<uint8_t> bytes) {
  std::ranges::fill(bytes, uint8_t{0});
  if (offset >= kConfig) {
    MutexLock lock(mutex_);
    device_->ReadConfig(offset - kConfig, bytes);
  } else if (bytes.size() == sizeof(uint32_t) && IsAligned<uint64_t>(offset, sizeof(uint32_t))) {
    StoreLe(bytes, ReadRegister(offset));
  }
}

void MmioTransport::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset >= kConfig) {
    MutexLock lock(mutex_);
    const uint32_t status = status_.load(std::memory_order_relaxed);
    if ((status & kStatusDriver) == 0 || (status & kStatusFailed) != 0) return;
    device_->WriteConfig(offset - kConfig, bytes);
  } else if (bytes.size() == sizeof(uint32_t) && IsAligned<uint64_t>(offset, sizeof(uint32_t))) {
    WriteRegister(offset, LoadLe<uint32_t>(bytes));
  }
}

void MmioTransport::ConfigChanged() {
  config_generation_.fetch_add(1, std::memory_order_release);
  if (live()) RaiseInterrupt(kInterruptConfigChange);
}

// What an interrupt handler needs does not wait for the mutex, behind which a request may run.
uint32_t MmioTransport::ReadRegister(uint64_t offset) const {
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return kVersion2;
    case kDeviceId:
      return device_->type();
    case kVendorId:
      return kVendor;
    case kInterruptStatus:
      return interrupt_status_.load(std::memory_order_acquire);
    case kStatus:
      return status_.load(std::memory_order_acquire);
    case kConfigGeneration:
      return config_generation_.load(std::memory_order_acquire);
    case kShmLenLow:
    case kShmLenHigh:
    case kShmBaseLow:
    case kShmBaseHigh:
      return kNoShm;
    default: {
      MutexLock lock(mutex_);
      return ReadRegisterLocked(offset);
    }
  }
}

uint32_t MmioTransport::ReadRegisterLocked(uint64_t offset) const {
  const uint32_t index = registers_.queue_sel;
  const bool queue_exists = index < registers_.queues.size();
  switch (offset) {
    case kDeviceFeatures:
      if (registers_.device_features_sel > 1) return 0;
      return static_cast<uint32_t>(offered_features() >> (32 * registers_.device_features_sel));
    case kQueueSizeMax:
      return queue_exists ? device_->queue_sizes()[index] : 0;
    case kQueueReady:
      return queue_exists && registers_.queues[index].ready ? 1 : 0;
    default:
      return 0;
  }
}

void MmioTransport::WriteRegister(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kQueueNotify:
      Kick(value);
      return;
    case kInterruptAck:
      interrupt_status_.fetch_and(~value, std::memory_order_acq_rel);
      return;
    default: {
      MutexLock lock(mutex_);
      WriteRegisterLocked(offset, value);
    }
  }
}

void MmioTransport::WriteRegisterLocked(uint64_t offset, uint32_t value) {
  const uint32_t status = status_.load(std::memory_order_relaxed);
  if (offset == kStatus) {
    WriteStatusLocked(value);
    return;
  }
  if ((status & kStatusFailed) != 0) return;
  switch (offset) {
    case kDeviceFeaturesSel:
      registers_.device_features_sel = value;
      return;
    case kDriverFeaturesSel:
      registers_.driver_features_sel = value;
      return;
    case kDriverFeatures:
      if (status == kDriverFound) WriteDriverFeaturesLocked(value);
      return;
    case kQueueSel:
      registers_.queue_sel = value;
      return;
    default:
      // Between FEATURES_OK and DRIVER_OK, and never after: a live queue does not move.
      if (status == kNegotiated) WriteQueueRegisterLocked(offset, value);
  }
}

void MmioTransport::WriteDriverFeaturesLocked(uint32_t value) {
  uint64_t& features = registers_.driver_features;
  if (registers_.driver_features_sel == 0) features = WithLow(features, value);
  if (registers_.driver_features_sel == 1) features = WithHigh(features, value);
}

void MmioTransport::WriteQueueRegisterLocked(uint64_t offset, uint32_t value) {
  if (registers_.queue_sel >= registers_.queues.size()) return;
  MmioQueueState& queue = registers_.queues[registers_.queue_sel];
  if (offset == kQueueReady) {
    if (value <= 1) queue.ready = value == 1;
    return;
  }
  if (queue.ready) return;
  switch (offset) {
    case kQueueSize:
      queue.size = value;
      return;
    case kQueueDescLow:
      queue.descriptor_table = WithLow(queue.descriptor_table, value);
      return;
    case kQueueDescHigh:
      queue.descriptor_table = WithHigh(queue.descriptor_table, value);
      return;
    case kQueueDriverLow:
      queue.avail_ring = WithLow(queue.avail_ring, value);
      return;
    case kQueueDriverHigh:
      queue.avail_ring = WithHigh(queue.avail_ring, value);
      return;
    case kQueueDeviceLow:
      queue.used_ring = WithLow(queue.used_ring, value);
      return;
    case kQueueDeviceHigh:
      queue.used_ring = WithHigh(queue.used_ring, value);
      return;
    default:
      return;
  }
}

void MmioTransport::WriteStatusLocked(uint32_t value) {
  if (value == 0) {
    metrics_.resets.Add();
    ResetLocked();
    return;
  }
  const uint32_t status = status_.load(std::memory_order_relaxed);
  if ((status & kStatusFailed) != 0) return;
  if ((value & kStatusFailed) != 0) {
    status_.fetch_or(kStatusFailed, std::memory_order_release);
    return;
  }
  const bool is_step = std::ranges::any_of(kStatusSteps, [&](const StatusStep& step) {
    return step.from == status && step.to == value;
  });
  if (!is_step) return;
  if (value == kNegotiated && !FeaturesAcceptable(registers_.driver_features)) return;
  status_.fetch_or(value, std::memory_order_release);
  if (value != kLive) return;
  if (const auto activated = ActivateLocked(); !activated) {
    log_.Warn("{}", activated.error().message());
    NeedsReset();
  }
}

Result<void> MmioTransport::ActivateLocked() {
  const std::span<const uint16_t> max_sizes = device_->queue_sizes();
  const bool event_index = (registers_.driver_features & kFeatureEventIndex) != 0;
  std::vector<Virtqueue> queues;
  queues.reserve(max_sizes.size());
  for (size_t i = 0; i < max_sizes.size(); ++i) {
    const std::string queue_name = fmt::format("queue {}", i);
    const VirtqueueState state =
        TRY(WithContext(ToVirtqueueState(registers_.queues[i]), queue_name));
    queues.push_back(TRY(WithContext(
        Virtqueue::Create(state, max_sizes[i], event_index, memory_, this), queue_name)));
  }
  activated_ = true;
  device_->Activate(std::move(queues), registers_.driver_features);
  return {};
}

void MmioTransport::ResetLocked() {
  // First the device: it lets go of its queues, so no QueueEvents come after the bits are cleared.
  if (activated_) device_->Reset();
  activated_ = false;
  registers_ = State{};
  registers_.queues.resize(device_->queue_sizes().size());
  notify_event_.Clear();
  pending_kicks_.store(0, std::memory_order_relaxed);
  interrupt_status_.store(0, std::memory_order_relaxed);
  status_.store(0, std::memory_order_release);
}

void MmioTransport::Kick(uint32_t index) {
  if (index >= device_->queue_sizes().size() || !live()) return;
  metrics_.kicks.Add();
  const uint32_t bit = 1U << index;
  if (kick_mode_ == KickMode::kInline) {
    MutexLock lock(mutex_);
    ProcessLocked(bit);
    return;
  }
  // Whoever sets the first bit wakes the loop, which takes all bits at once.
  if (pending_kicks_.fetch_or(bit, std::memory_order_acq_rel) == 0) kick_event_.Signal();
}

void MmioTransport::ProcessLater() {
  pending_kicks_.fetch_or(AllQueues(*device_), std::memory_order_acq_rel);
  kick_event_.Signal();
}

void MmioTransport::ProcessPending() {
  // Cleared before the bits are taken: a kick between the two costs a wake-up for nothing, the
  // other way round it would be lost.
  kick_event_.Clear();
  TakeNotifications();
  MutexLock lock(mutex_);
  ProcessLocked(pending_kicks_.exchange(0, std::memory_order_acq_rel));
}

void MmioTransport::TakeNotifications() {
  const uint64_t count = notify_event_.Take();
  if (count == 0 || !live()) return;
  metrics_.kicks.Add(count);
  pending_kicks_.fetch_or(AllQueues(*device_), std::memory_order_acq_rel);
}

void MmioTransport::ProcessLocked(uint32_t queues) {
  if (paused_) {
    pending_kicks_.fetch_or(queues, std::memory_order_acq_rel);
    return;
  }
  for (uint16_t index = 0; queues != 0; ++index, queues >>= 1) {
    if ((queues & 1) != 0 && activated_ && live()) device_->ProcessQueue(index);
  }
}

void MmioTransport::Pause() {
  MutexLock lock(mutex_);
  paused_ = true;
  TakeNotifications();
  if (activated_) device_->Drain();
}

void MmioTransport::Resume() {
  MutexLock lock(mutex_);
  paused_ = false;
  if (pending_kicks_.load(std::memory_order_acquire) != 0) kick_event_.Signal();
}

void MmioTransport::UsedBuffers() { RaiseInterrupt(kInterruptUsedBuffer); }

void MmioTransport::NeedsReset() {
  const uint32_t status = status_.fetch_or(kStatusNeedsReset, std::memory_order_acq_rel);
  if ((status & kStatusNeedsReset) != 0) return;
  metrics_.broken.Add();
  log_.Warn("the driver broke the device, it needs a reset");
  RaiseInterrupt(kInterruptConfigChange);
}

// Raised even if the cause is pending already: a driver that has looked at its rings and not yet
// acknowledged would otherwise miss what came in between.
void MmioTransport::RaiseInterrupt(uint32_t cause) {
  interrupt_status_.fetch_or(cause, std::memory_order_acq_rel);
  metrics_.interrupts.Add();
  interrupt_->Raise();
}

uint64_t MmioTransport::offered_features() const {
  return device_->features() | kFeatureVersion1 | kFeatureEventIndex;
}

bool MmioTransport::FeaturesAcceptable(uint64_t driver_features) const {
  return (driver_features & ~offered_features()) == 0 && (driver_features & kFeatureVersion1) != 0;
}

bool MmioTransport::live() const { return status_.load(std::memory_order_acquire) == kLive; }

MmioState MmioTransport::Save() const {
  MutexLock lock(mutex_);
  State state = registers_;
  state.device_id = device_->type();
  state.status = status_.load(std::memory_order_acquire);
  state.interrupt_status = interrupt_status_.load(std::memory_order_acquire);
  state.config_generation = config_generation_.load(std::memory_order_acquire);
  state.pending_kicks = pending_kicks_.load(std::memory_order_acquire);
  if (!activated_) return state;
  const std::vector<VirtqueueState> queues = device_->SaveQueues();
  CHECK(queues.size() == state.queues.size());
  for (size_t i = 0; i < queues.size(); ++i) {
    state.queues[i].next_avail = queues[i].next_avail;
    state.queues[i].next_used = queues[i].next_used;
    state.queues[i].signalled_used = queues[i].signalled_used;
    state.queues[i].signalled_used_valid = queues[i].signalled_used_valid;
  }
  return state;
}

Result<void> MmioTransport::RestoreLocked(const State& state) {
  if (state == State{}) {
    ResetLocked();
    return {};
  }
  TRY(CheckState(state));
  registers_ = state;
  interrupt_status_.store(state.interrupt_status, std::memory_order_relaxed);
  config_generation_.store(state.config_generation, std::memory_order_relaxed);
  status_.store(state.status, std::memory_order_release);
  if (!live()) return {};  // A device that needs a reset, too: nothing else can be done with it.
  TRY(ActivateLocked());
  if (state.pending_kicks != 0) {
    pending_kicks_.fetch_or(state.pending_kicks, std::memory_order_acq_rel);
    kick_event_.Signal();
  }
  return {};
}

// Everything but the queues' addresses, which activation checks. A selector and the features before
// FEATURES_OK are whatever the driver wrote.
Result<void> MmioTransport::CheckState(const State& state) const {
  if (state.device_id != device_->type()) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("device_id is {}, expected {}", state.device_id, device_->type()));
  }
  if (!IsStatus(state.status)) {
    return Fail(ErrorCode::kCorrupt, fmt::format("status {:#x} is impossible", state.status));
  }
  if ((state.status & kStatusFeaturesOk) != 0 && !FeaturesAcceptable(state.driver_features)) {
    return Fail(ErrorCode::kCorrupt, fmt::format("driver_features are {:#x}, offered are {:#x}",
                                                 state.driver_features, offered_features()));
  }
  if ((state.interrupt_status & ~(kInterruptUsedBuffer | kInterruptConfigChange)) != 0) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("interrupt_status {:#x} is impossible", state.interrupt_status));
  }
  if ((state.pending_kicks & ~AllQueues(*device_)) != 0) {
    return Fail(
        ErrorCode::kCorrupt,
        fmt::format("pending_kicks {:#x} names a queue that is not there", state.pending_kicks));
  }
  if (state.queues.size() != device_->queue_sizes().size()) {
    return Fail(ErrorCode::kCorrupt, fmt::format("{} queues, expected {}", state.queues.size(),
                                                 device_->queue_sizes().size()));
  }
  const bool can_be_ready = (state.status & kStatusFeaturesOk) != 0;
  if (!can_be_ready && std::ranges::any_of(state.queues, &MmioQueueState::ready)) {
    return Fail(ErrorCode::kCorrupt, "ready: a queue is set up before FEATURES_OK");
  }
  return {};
}

}  // namespace mayfly
