#include "devices/virtio/blk/blk.h"

#include <algorithm>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/blk/blk_abi.h"
#include "devices/virtio/config_space.h"

namespace mayfly {

Result<std::unique_ptr<BlkDevice>> BlkDevice::Create(Resources resources, const BlkState& state) {
  CHECK(resources.backend != nullptr);
  // A last part of a sector is not part of the disk.
  const uint64_t capacity = resources.backend->size() / kSectorSize;
  const bool read_only = resources.backend->read_only();
  if (state != BlkState{}) {
    if (state.capacity_sectors != capacity) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: capacity_sectors is {} in the snapshot, the disk has {}",
                              resources.name, state.capacity_sectors, capacity));
    }
    if (state.read_only != read_only) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: read_only is {} in the snapshot, {} for the disk",
                              resources.name, state.read_only, read_only));
    }
  }
  return std::unique_ptr<BlkDevice>(new BlkDevice(std::move(resources), capacity));
}

uint64_t BlkDevice::features() const {
  return blk::kFeatureSegMax | blk::kFeatureBlockSize | blk::kFeatureFlush |
         (backend_->read_only() ? blk::kFeatureReadOnly : 0);
}

void BlkDevice::ReadConfig(uint64_t offset, std::span<uint8_t> out) {
  blk::Config config{};
  config.capacity = capacity_sectors_;
  config.seg_max = kSegmentsMax;
  config.blk_size = kSectorSize;
  CopyConfig(BytesOf(config), offset, out);
}

// No field of our features' is writable.
void BlkDevice::WriteConfig(uint64_t, std::span<const uint8_t>) {}

void BlkDevice::Activate(std::vector<Virtqueue> queues, uint64_t driver_features) {
  queue_ = std::move(queues.front());
  write_back_ = (driver_features & blk::kFeatureFlush) != 0;
}

void BlkDevice::Reset() { queue_.reset(); }

std::vector<VirtqueueState> BlkDevice::SaveQueues() const {
  CHECK(queue_.has_value());
  return {queue_->Save()};
}

BlkState BlkDevice::Save() const { return {capacity_sectors_, backend_->read_only()}; }

void BlkDevice::ProcessQueue(uint16_t) {
  // Bounded, because another vCPU can refill the queue as fast as it is emptied.
  turn_bytes_ = 0;
  for (uint16_t i = 0; i < kQueueSize && turn_bytes_ < kMaxRequestBytes; ++i) {
    auto chain = queue_->Pop();
    if (!chain) {
      queue_->Notify();
      return;
    }
    Serve(*std::move(chain));
  }
  queue_->Notify();
  queue_->ProcessLater();
}

void BlkDevice::Serve(DescriptorChain chain) {
  if (chain.writable_size() == 0) {
    log_.Warn("a request without room for its status");
    queue_->Complete(std::move(chain), 0);
    return;
  }
  const uint32_t data_size = chain.writable_size() - 1;
  const Outcome outcome = Execute(chain);
  // Last of all, so that it overwrites data if the guest made the two overlap.
  chain.CopyTo(queue_->memory(), data_size, BytesOf(outcome.status));
  // The used length counts from the first writable byte (2.7.8.2): the status byte, the last one,
  // is among it only if all that is in front of it was written.
  const uint32_t written =
      outcome.data_written == data_size ? chain.writable_size() : outcome.data_written;
  queue_->Complete(std::move(chain), written);
}

BlkDevice::Outcome BlkDevice::Execute(const DescriptorChain& chain) {
  blk::RequestHeader header{};
  if (chain.CopyFrom(queue_->memory(), 0, MutableBytesOf(header)) != sizeof(header)) {
    log_.Warn("a request of {} bytes, less than a header", chain.readable_size());
    return {blk::kStatusIoError, 0};
  }
  switch (header.type) {
    case blk::kTypeIn:
      return ReadSectors(chain, header.sector);
    case blk::kTypeOut:
      return WriteSectors(chain, header.sector);
    case blk::kTypeFlush:
      return Flush();
    case blk::kTypeGetId:
      return GetId(chain);
    default:
      return {blk::kStatusUnsupported, 0};
  }
}

BlkDevice::Outcome BlkDevice::ReadSectors(const DescriptorChain& chain, uint64_t sector) {
  const uint32_t length = chain.writable_size() - 1;
  const auto offset = Place(sector, length);
  if (!offset) return {blk::kStatusIoError, 0};
  turn_bytes_ += length;
  const auto iovecs = chain.WritableIovecs(queue_->memory(), 0, length);
  const uint8_t status = StatusOf(backend_->Read(iovecs, *offset));
  return {status, status == blk::kStatusOk ? length : 0};
}

BlkDevice::Outcome BlkDevice::WriteSectors(const DescriptorChain& chain, uint64_t sector) {
  const auto length = static_cast<uint32_t>(chain.readable_size() - sizeof(blk::RequestHeader));
  const auto offset = Place(sector, length);
  if (!offset || backend_->read_only()) return {blk::kStatusIoError, 0};
  turn_bytes_ += length;
  const auto iovecs = chain.ReadableIovecs(queue_->memory(), sizeof(blk::RequestHeader), length);
  const uint8_t status = StatusOf(backend_->Write(iovecs, *offset));
  // Without FLUSH the driver cannot ask for it, and counts on every write being stable (5.2.6.2).
  if (status == blk::kStatusOk && !write_back_) return Flush();
  return {status, 0};
}

BlkDevice::Outcome BlkDevice::Flush() {
  turn_bytes_ += kMaxRequestBytes;  // May take as long as a lot of data: the turn ends.
  return {StatusOf(backend_->Flush()), 0};
}

BlkDevice::Outcome BlkDevice::GetId(const DescriptorChain& chain) {
  if (chain.writable_size() - 1 < blk::kIdLength) return {blk::kStatusIoError, 0};
  // Padded with zeros, not ended by one.
  std::array<uint8_t, blk::kIdLength> id{};
  const std::string_view text = backend_->id().substr(0, id.size());
  std::ranges::copy(text, id.begin());
  chain.CopyTo(queue_->memory(), 0, id);
  return {blk::kStatusOk, blk::kIdLength};
}

std::optional<uint64_t> BlkDevice::Place(uint64_t sector, uint64_t length) const {
  if (length % kSectorSize != 0 || length > kMaxRequestBytes ||
      !RangeFits(sector, length / kSectorSize, capacity_sectors_)) {
    return std::nullopt;
  }
  return sector * kSectorSize;  // Cannot wrap: it is inside the disk.
}

uint8_t BlkDevice::StatusOf(const Result<void>& result) {
  if (result) return blk::kStatusOk;
  log_.Warn("{}", result.error().message());
  return blk::kStatusIoError;
}

}  // namespace mayfly
