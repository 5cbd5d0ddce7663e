#include "devices/virtio/blk/blk.h"

#include <sys/epoll.h>

#include <algorithm>
#include <bit>

#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/blk/blk_abi.h"
#include "devices/virtio/config_space.h"

namespace mayfly {
namespace {

Result<void> CheckOptions(const BlkDevice::Resources& resources) {
  const BlkOptions& options = resources.options;
  if (options.queues < 1 || options.queues > BlkDevice::kMostQueues) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} queues, but 1 to {} are possible", resources.name,
                            options.queues, BlkDevice::kMostQueues));
  }
  if (options.block_size != 512 && options.block_size != 4096) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: a block size of {}, but 512 and 4096 are possible", resources.name,
                            options.block_size));
  }
  return {};
}

Result<void> CheckState(const BlkState& state, const BlkState& now, const std::string& name) {
  if (state == BlkState{} || state == now) return {};
  if (state.capacity_sectors != now.capacity_sectors) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: capacity_sectors is {} in the snapshot, the disk has {}", name,
                            state.capacity_sectors, now.capacity_sectors));
  }
  if (state.read_only != now.read_only) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: read_only is {} in the snapshot, {} for the disk", name,
                            state.read_only, now.read_only));
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: block_size is {} in the snapshot, {} for the disk", name,
                          state.block_size, now.block_size));
}

}  // namespace

Result<std::unique_ptr<BlkDevice>> BlkDevice::Create(Resources resources, const BlkState& state) {
  CHECK(resources.backend != nullptr && resources.loop != nullptr);
  TRY(CheckOptions(resources));
  const std::string name = resources.name;
  // A last part of a block is not part of the disk.
  const uint64_t block = resources.options.block_size;
  const uint64_t capacity = resources.backend->info().size / block * (block / kSectorSize);
  std::unique_ptr<BlkDevice> device(new BlkDevice(std::move(resources), capacity));
  TRY(CheckState(state, device->Save(), name));
  BlkDevice* const self = device.get();
  self->watch_ = TRY(WithContext(self->loop_->Watch(self->backend_->completion_fd(), EPOLLIN,
                                                    [self](uint32_t) { self->OnCompletions(); }),
                                 name));
  return device;
}

BlkDevice::BlkDevice(Resources resources, uint64_t capacity_sectors)
    : backend_(std::move(resources.backend)),
      loop_(resources.loop),
      log_(resources.log, resources.name),
      options_(std::move(resources.options)),
      limits_{capacity_sectors, backend_->info().read_only},
      queue_sizes_(options_.queues, kQueueSize),
      limiter_(options_.limits) {}

BlkDevice::~BlkDevice() {
  if (watch_ != 0) loop_->Remove(watch_);
  loop_->Cancel(throttle_timer_);
}

uint64_t BlkDevice::features() const {
  const uint64_t writes = blk::kFeatureDiscard | blk::kFeatureWriteZeroes;
  return blk::kFeatureSegMax | blk::kFeatureBlockSize | blk::kFeatureFlush | blk::kFeatureTopology |
         blk::kFeatureMultiQueue | (limits_.read_only ? blk::kFeatureReadOnly : writes);
}

void BlkDevice::ReadConfig(uint64_t offset, std::span<uint8_t> out) {
  const DiskInfo& info = backend_->info();
  const uint32_t physical = std::max(info.physical_block_size, options_.block_size);
  blk::Config config{};
  config.capacity = limits_.capacity_sectors;
  config.seg_max = kSegmentsMax;
  config.blk_size = options_.block_size;
  config.physical_block_exp =
      static_cast<uint8_t>(std::countr_zero(physical) - std::countr_zero(options_.block_size));
  config.min_io_size = static_cast<uint16_t>(physical / options_.block_size);
  config.opt_io_size = info.optimal_io_size / options_.block_size;
  config.num_queues = options_.queues;
  config.max_discard_sectors = BlkLimits::kMaxDiscardBytes / kSectorSize;
  config.max_discard_seg = 1;
  config.discard_sector_alignment = physical / kSectorSize;
  config.max_write_zeroes_sectors = BlkLimits::kMaxZeroBytes / kSectorSize;
  config.max_write_zeroes_seg = 1;
  config.write_zeroes_may_unmap = 1;
  CopyConfig(BytesOf(config), offset, out);
}

// No field of our features' is writable.
void BlkDevice::WriteConfig(uint64_t, std::span<const uint8_t>) {}

void BlkDevice::Activate(std::vector<Virtqueue> queues, uint64_t driver_features) {
  MutexLock lock(mutex_);
  for (Virtqueue& queue : queues) queues_.push_back({std::move(queue), false, std::nullopt});
  write_back_ = (driver_features & blk::kFeatureFlush) != 0;
  // After a restore there may be requests for which no kick comes any more: the rate limit, or what
  // was in flight, had kept them in their queues.
  queues_.front().virtqueue.ProcessLater();
}

void BlkDevice::Reset() {
  MutexLock lock(mutex_);
  backend_->Drain();
  backend_->Take(&taken_);
  taken_.clear();
  in_flight_.Clear();
  queues_.clear();
  loop_->Cancel(throttle_timer_);
  throttle_timer_ = 0;
  look_again_ = false;
}

void BlkDevice::Drain() {
  MutexLock lock(mutex_);
  // More than once: a write may go on with a flush.
  while (!in_flight_.empty()) {
    backend_->Drain();
    ReapLocked();
  }
  NotifyLocked();
}

std::vector<VirtqueueState> BlkDevice::SaveQueues() const {
  MutexLock lock(mutex_);
  CHECK(!queues_.empty());
  std::vector<VirtqueueState> states;
  states.reserve(queues_.size());
  for (const Queue& queue : queues_) states.push_back(queue.virtqueue.Save());
  return states;
}

BlkState BlkDevice::Save() const {
  return {limits_.capacity_sectors, limits_.read_only, options_.block_size};
}

void BlkDevice::ProcessQueue(uint16_t index) {
  MutexLock lock(mutex_);
  Queue& queue = queues_[index];
  const bool on_loop = loop_->IsCurrentThread();
  if (queue.handed_over && !on_loop) return;
  Turn turn{.on_loop = on_loop, .read_now = !std::exchange(queue.handed_over, false)};
  ServeLocked(index, turn);
  if (turn.submitted) {
    backend_->Commit();
    ReapLocked();
  }
  NotifyLocked();
}

void BlkDevice::ServeLocked(uint16_t index, Turn& turn) {
  Queue& queue = queues_[index];
  // Bounded, because another vCPU can refill the queue as fast as it is emptied.
  for (uint16_t i = 0; i < kQueueSize && turn.bytes < BlkLimits::kMaxRequestBytes; ++i) {
    if (throttle_timer_ != 0) return;
    if (in_flight_.full()) {
      look_again_ = true;
      return;
    }
    const bool quiet = in_flight_.transfers() >= kQuietDepth;
    // A driver that had a read answered has the next one ready soon: the loop looks once more
    // before it asks for a kick, which costs the guest more than us.
    const bool soon = turn.on_loop && turn.answered;
    auto chain =
        queue.virtqueue.Pop(quiet || soon ? WhenEmpty::kStayQuiet : WhenEmpty::kAskForKick);
    if (!chain) {
      if (quiet) {
        look_again_ = true;
      } else if (soon) {
        queue.virtqueue.ProcessLater();
      }
      return;
    }
    if (!ServeChainLocked(index, *std::move(chain), turn)) return;
  }
  queue.virtqueue.ProcessLater();
}

bool BlkDevice::ServeChainLocked(uint16_t index, DescriptorChain chain, Turn& turn) {
  Queue& queue = queues_[index];
  if (chain.writable_size() == 0) {
    log_.Warn("a request without room for its status");
    metrics_.rejected.Add();
    queue.virtqueue.Complete(std::move(chain), 0);
    return true;
  }
  DecodedBlkRequest decoded = DecodeBlkRequest(chain, queue.virtqueue.memory(), limits_);
  if (const auto* answer = std::get_if<BlkAnswer>(&decoded)) {
    if (answer->status != blk::kStatusOk) metrics_.rejected.Add();
    AnswerLocked(queue, std::move(chain), answer->status, 0);
    return true;
  }
  if (std::holds_alternative<BlkGetId>(decoded)) {
    AnswerIdLocked(queue, std::move(chain));
    return true;
  }
  return StartLocked(index, std::move(chain), std::get<BlkRequest>(std::move(decoded)), turn);
}

bool BlkDevice::StartLocked(uint16_t index, DescriptorChain chain, BlkRequest request, Turn& turn) {
  Queue& queue = queues_[index];
  if (!AdmitLocked(queue, request)) {
    queue.virtqueue.UndoPop(std::move(chain));
    return false;
  }
  turn.bytes += request.length;
  const auto started = EventLoop::Clock::now();
  const bool write_through = !write_back_ && request.operation != BlkOperation::kRead;
  InFlightRequest in_flight{index,          std::move(chain), request.operation,
                            request.length, write_through,    started};
  if (turn.read_now && request.operation == BlkOperation::kRead) {
    if (backend_->ReadNow(request.iovecs, request.offset)) {
      metrics_.reads_from_cache.Add();
      turn.answered = true;
      CountLocked(in_flight);
      AnswerLocked(queue, std::move(in_flight.chain), blk::kStatusOk, request.length);
      return true;
    }
    turn.read_now = false;
  }
  if (!turn.on_loop) {
    queue.handed_over = true;
    queue.paid = request.length;
    queue.virtqueue.UndoPop(std::move(in_flight.chain));
    queue.virtqueue.ProcessLater();
    return false;
  }
  request.token = in_flight_.Add(std::move(in_flight));
  backend_->Submit(std::move(request));
  turn.submitted = true;
  return true;
}

// The driver may have changed the request since it was paid for, so what is more is paid now.
bool BlkDevice::AdmitLocked(Queue& queue, const BlkRequest& request) {
  const std::optional<uint64_t> paid = std::exchange(queue.paid, std::nullopt);
  if (limiter_.unlimited() || (paid && request.length <= *paid)) return true;
  const auto wait = limiter_.Take(request.length - paid.value_or(0));
  if (wait <= EventLoop::Clock::duration::zero()) return true;
  queue.paid = paid;
  metrics_.throttled.Add();
  throttle_timer_ = loop_->After(wait, [this] { OnThrottleTimer(); });
  return false;
}

void BlkDevice::AnswerIdLocked(Queue& queue, DescriptorChain chain) {
  // Padded with zeros, not ended by one.
  std::array<uint8_t, blk::kIdLength> id{};
  const std::string_view text = std::string_view(options_.serial).substr(0, id.size());
  std::ranges::copy(text, id.begin());
  chain.CopyTo(queue.virtqueue.memory(), 0, id);
  AnswerLocked(queue, std::move(chain), blk::kStatusOk, id.size());
}

void BlkDevice::AnswerLocked(Queue& queue, DescriptorChain chain, uint8_t status,
                             uint64_t data_written) {
  const uint32_t data_size = chain.writable_size() - 1;
  // Last of all, so that it overwrites data if the guest made the two overlap.
  chain.CopyTo(queue.virtqueue.memory(), data_size, BytesOf(status));
  // The used length counts from the first writable byte (2.7.8.2): the status byte, the last one,
  // is among it only if all that is in front of it was written.
  const uint32_t written =
      data_written == data_size ? data_size + 1 : static_cast<uint32_t>(data_written);
  queue.virtqueue.Complete(std::move(chain), written);
}

void BlkDevice::OnCompletions() {
  MutexLock lock(mutex_);
  ReapLocked();
  NotifyLocked();
}

void BlkDevice::OnThrottleTimer() {
  MutexLock lock(mutex_);
  if (throttle_timer_ == 0) return;  // A reset came first.
  throttle_timer_ = 0;
  queues_.front().virtqueue.ProcessLater();
}

void BlkDevice::ReapLocked() {
  bool completed = false;
  // Until there are no more: a request that goes on with a flush may have failed at once.
  for (backend_->Take(&taken_); !taken_.empty(); backend_->Take(&taken_)) {
    completed = true;
    for (BlkCompletion& completion : taken_) CompleteLocked(std::move(completion));
    taken_.clear();
  }
  if (completed && std::exchange(look_again_, false)) queues_.front().virtqueue.ProcessLater();
}

void BlkDevice::CompleteLocked(BlkCompletion completion) {
  auto request = in_flight_.Take(completion.token);
  if (!request) return;  // Of before a reset.
  if (completion.result && request->then_flush) {
    BlkRequest flush;
    flush.operation = BlkOperation::kFlush;
    request->then_flush = false;
    flush.token = in_flight_.Add(*std::move(request));
    backend_->Submit(std::move(flush));
    backend_->Commit();
    return;
  }
  Queue& queue = queues_[request->queue];
  if (completion.result) {
    CountLocked(*request);
    const bool read = request->operation == BlkOperation::kRead;
    AnswerLocked(queue, std::move(request->chain), blk::kStatusOk, read ? request->length : 0);
    return;
  }
  log_.Warn("{}", completion.result.error().message());
  metrics_.errors.Add();
  const bool optional = request->operation == BlkOperation::kDiscard ||
                        request->operation == BlkOperation::kWriteZeroes;
  const bool unsupported = optional && completion.result.error().errno_value() == EOPNOTSUPP;
  AnswerLocked(queue, std::move(request->chain),
               unsupported ? blk::kStatusUnsupported : blk::kStatusIoError, 0);
}

void BlkDevice::CountLocked(const InFlightRequest& request) {
  metrics_.latency.Observe(EventLoop::Clock::now() - request.started);
  switch (request.operation) {
    case BlkOperation::kRead:
      metrics_.reads.Add();
      metrics_.read_bytes.Add(request.length);
      return;
    case BlkOperation::kWrite:
      metrics_.writes.Add();
      metrics_.written_bytes.Add(request.length);
      return;
    case BlkOperation::kFlush:
      metrics_.flushes.Add();
      return;
    case BlkOperation::kDiscard:
      metrics_.discards.Add();
      return;
    case BlkOperation::kWriteZeroes:
      metrics_.write_zeroes.Add();
      return;
  }
}

void BlkDevice::NotifyLocked() {
  for (Queue& queue : queues_) queue.virtqueue.Notify();
}

}  // namespace mayfly
