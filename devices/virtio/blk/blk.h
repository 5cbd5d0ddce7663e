#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "devices/virtio/blk/blk_backend.h"
#include "devices/virtio/blk/blk_state.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// A virtio block device (virtio 1.2, section 5.2): reads, writes, flushes and its serial number, on
// one queue, in order and synchronously. Owned by its transport, which serialises every call, so
// it has no mutex of its own.
class BlkDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 2;
  static constexpr uint16_t kQueueSize = 256;
  static constexpr uint64_t kSectorSize = 512;
  // The header and the status byte take a descriptor each.
  static constexpr uint32_t kSegmentsMax = kQueueSize - 2;
  // The most data of one request, and the data after which a turn ends; more in one request is
  // answered IOERR. A chain may name the same guest page again and again, up to 4 GiB, and would
  // keep the thread in one system call for seconds. Linux sends 4 MiB at most by itself.
  static constexpr uint64_t kMaxRequestBytes = 8ULL << 20;

  struct Resources {
    std::string name;  // For errors and the log: "disk0".
    std::unique_ptr<BlkBackend> backend;
    LogSink* log = nullptr;  // Borrowed; may be null.
  };

  // kInvalidArgument, with both values, if the backend is another disk than `state` tells of.
  static Result<std::unique_ptr<BlkDevice>> Create(Resources resources,
                                                   const BlkState& state = BlkState{});
  BlkDevice(const BlkDevice&) = delete;
  BlkDevice& operator=(const BlkDevice&) = delete;

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override;
  void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) override;
  void ProcessQueue(uint16_t index) override;
  void Reset() override;
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override;

  [[nodiscard]] BlkState Save() const;

 private:
  static constexpr std::array<uint16_t, 1> kQueueSizes{kQueueSize};

  BlkDevice(Resources resources, uint64_t capacity_sectors)
      : backend_(std::move(resources.backend)),
        log_(resources.log, resources.name),
        capacity_sectors_(capacity_sectors) {}

  // What a request came to: the status byte, and how many bytes of the writable part are data that
  // was written.
  struct Outcome {
    uint8_t status;
    uint32_t data_written;
  };
  void Serve(DescriptorChain chain);
  Outcome Execute(const DescriptorChain& chain);
  Outcome ReadSectors(const DescriptorChain& chain, uint64_t sector);
  Outcome WriteSectors(const DescriptorChain& chain, uint64_t sector);
  Outcome Flush();
  Outcome GetId(const DescriptorChain& chain);
  // The byte offset of a request for `length` bytes at `sector`, if it is one.
  [[nodiscard]] std::optional<uint64_t> Place(uint64_t sector, uint64_t length) const;
  // Turns a backend's answer into a status byte.
  uint8_t StatusOf(const Result<void>& result);

  const std::unique_ptr<BlkBackend> backend_;
  GuestLog log_;
  const uint64_t capacity_sectors_;
  std::optional<Virtqueue> queue_;
  bool write_back_ = false;
  uint64_t turn_bytes_ = 0;  // Moved in this ProcessQueue().
};

}  // namespace mayfly
