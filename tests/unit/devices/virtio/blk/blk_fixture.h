#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/blk_abi.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fakes/fake_blk_backend.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/loop.h"

namespace mayfly {

// A block device behind its transport, with a driver that has started it.
class BlkFixture : public ::testing::Test {
 protected:
  using Bytes = std::vector<uint8_t>;
  static constexpr uint64_t kSectors = 64;
  static constexpr uint8_t kOk = blk::kStatusOk;
  static constexpr uint8_t kIoError = blk::kStatusIoError;
  static constexpr uint8_t kUnsupported = blk::kStatusUnsupported;
  static constexpr uint8_t kUntouched = 0xaa;

  BlkFixture() { Start(std::make_unique<FakeBlkBackend>(kSectors * 512)); }

  void Start(std::unique_ptr<FakeBlkBackend> backend, uint64_t features = UINT64_MAX,
             BlkOptions options = {.serial = "fake-disk"}, KickMode kick_mode = KickMode::kInline) {
    backend_ = backend.get();
    transport_.reset();
    auto device = BlkDevice::Create({.name = "disk0",
                                     .backend = std::move(backend),
                                     .loop = loop_.get(),
                                     .options = std::move(options)});
    device_ = device->get();
    transport_ = *MmioTransport::Create({.name = "disk0",
                                         .device = *std::move(device),
                                         .memory = memory_.get(),
                                         .interrupt = &line_,
                                         .loop = loop_.get(),
                                         .kick_mode = kick_mode});
    driver_ = FakeDriver(memory_.get(), transport_.get());
    driver_.Start(features & ~kFeatureEventIndex);
  }
  // The device's own answer in the used ring, and the status byte at the end of what it wrote.
  struct Answer {
    uint32_t used_length;
    uint8_t status;
    Bytes data;
    bool operator==(const Answer&) const = default;
  };
  Answer Ask(FakeQueue::ChainBuilder chain) {
    const uint16_t head = chain.Submit();
    Kick();
    const auto used = driver_.PopUsed();
    if (!used || used->head != head) {
      ADD_FAILURE() << "no answer";
      return {};
    }
    Bytes data = driver_.Written(head);
    const uint8_t status = data.empty() ? kUntouched : data.back();
    if (!data.empty()) data.pop_back();
    return {used->length, status, data};
  }
  // Kicks, and lets the loop do all that follows from it.
  void Kick(uint32_t queue = 0) {
    driver_.Kick(queue);
    Settle();
  }
  void Settle() {
    // The kick, the completion, and what either of them put off.
    for (int turn = 0; turn < 4; ++turn) RunReady(loop_.get());
  }
  Result<std::unique_ptr<BlkDevice>> Restore(std::unique_ptr<FakeBlkBackend> backend,
                                             const BlkState& state) {
    return BlkDevice::Create({.name = "disk0", .backend = std::move(backend), .loop = loop_.get()},
                             state);
  }
  static blk::RequestHeader In(uint64_t sector) { return {blk::kTypeIn, 0, sector}; }
  static blk::RequestHeader Out(uint64_t sector) { return {blk::kTypeOut, 0, sector}; }
  static blk::RequestHeader Request(uint32_t type) { return {type, 0, 0}; }
  // The status of a read of `length` bytes at `sector`.
  uint8_t ReadStatus(uint64_t sector, uint32_t length) {
    return Ask(driver_.Chain().Readable(In(sector)).Writable(length).Writable(1)).status;
  }
  uint8_t WriteStatus(uint64_t sector, size_t length) {
    return Ask(driver_.Chain().Readable(Out(sector)).Readable(Bytes(length, 0x5a)).Writable(1))
        .status;
  }
  uint8_t FlushStatus() {
    return Ask(driver_.Chain().Readable(Request(blk::kTypeFlush)).Writable(1)).status;
  }
  bool NeedsReset() { return (driver_.status() & mmio::kStatusNeedsReset) != 0; }
  Bytes Disk(size_t offset, size_t length) {
    const auto begin = backend_->disk.begin() + static_cast<ptrdiff_t>(offset);
    return {begin, begin + static_cast<ptrdiff_t>(length)};
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(32ULL << 20);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  FakeBlkBackend* backend_ = nullptr;
  BlkDevice* device_ = nullptr;
  std::unique_ptr<MmioTransport> transport_;
  FakeDriver driver_{memory_.get(), nullptr};
};

}  // namespace mayfly
