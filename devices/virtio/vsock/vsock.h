#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/vsock/connection.h"
#include "devices/virtio/vsock/packet.h"
#include "devices/virtio/vsock/vsock_metrics.h"
#include "devices/virtio/vsock/vsock_state.h"
#include "devices/virtio/vsock/vsock_stream.h"

namespace mayfly {

// A virtio socket device (virtio 1.2, section 5.10), streams only. Owned by its transport. It has
// events of its own, so it has a mutex of its own: kicks come from the transport's thread, and
// streams become ready on any. Connections are looked up by key and number, so that an event of one
// that is gone finds nothing.
class VsockDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 19;
  static constexpr uint16_t kQueueSize = 256;
  // Bounds memory (64 KiB each) and descriptors against a guest that connects without end.
  static constexpr size_t kMaxConnections = 1023;
  // With so many RSTs waiting for receive buffers, no packet is taken from the guest that might
  // provoke one more (5.10.6.2 lets a device stop when it has used up what it has for replies). So
  // none is lost, and a guest that provokes them without taking them stalls only itself.
  static constexpr size_t kMaxOwedResets = 256;
  // A guest that does not answer a connection from the host is given up on.
  static constexpr std::chrono::seconds kConnectTimeout{2};
  // Packets sent in one turn, before other devices get theirs.
  static constexpr unsigned kMaxTurnPackets = 256;

  struct Resources {
    std::string name;  // For the log: "vsock".
    EventLoop* loop = nullptr;
    // Services inside the VMM by port; they come before `host`.
    std::map<uint32_t, VsockService*> services{};
    // Everything else; may be null.
    VsockService* host = nullptr;
    // Takes the place of the state's CID as soon as the guest can be told: it has to give a buffer
    // for events.
    std::optional<uint64_t> new_cid{};
    LogSink* log = nullptr;  // May be null. All pointers are borrowed.
  };

  // kCorrupt, naming the field, if the CID is reserved (0, 1, 2, 2^32 - 1) or longer than 32 bits,
  // or if a connection is none that Save() returns, or leads to no service.
  static Result<std::unique_ptr<VsockDevice>> Create(Resources resources, const VsockState& state);
  VsockDevice(const VsockDevice&) = delete;
  VsockDevice& operator=(const VsockDevice&) = delete;
  ~VsockDevice() override;

  // Connects `stream` to a port of the guest; `connected` is called with the host's port, on the
  // device's thread of the moment and with its mutex held, once the guest has accepted. If it
  // refuses, the stream is destroyed. False if there are too many connections or no driver yet.
  bool Connect(uint32_t guest_port, std::unique_ptr<VsockStream> stream,
               std::function<void(uint32_t host_port, VsockStream& stream)> connected);

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override;
  void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) override;
  void ProcessQueue(uint16_t index) override;
  void Reset() override;
  void Drain() override;
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override;

  // Connections to services are saved whole; what has been on its way to the service is with the
  // service. All others are resets: their host ends do not outlive the machine.
  [[nodiscard]] VsockState Save() const;
  [[nodiscard]] const VsockMetrics& metrics() const { return metrics_; }

 private:
  enum Queue : uint16_t { kReceive = 0, kTransmit = 1, kEvent = 2 };
  static constexpr std::array<uint16_t, 3> kQueueSizes{kQueueSize, kQueueSize, kQueueSize};

  struct Key {
    uint32_t guest_port;
    uint32_t host_port;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    uint64_t number;  // Tells this connection from an earlier one with the same key.
    std::unique_ptr<VsockConnection> connection;
    std::function<void(uint32_t, VsockStream&)> connected;
    uint64_t ticket = 0;           // Its place in to_send_; 0: none.
    EventLoop::TimerId timer = 0;  // While it waits for the guest's answer.
  };
  using Entries = std::map<Key, Entry>;

  VsockDevice(Resources resources, uint64_t guest_cid);

  Result<void> RestoreConnections(const VsockState& state);

  void StreamReady(Key key, uint64_t number);
  void ConnectTimedOut(Key key, uint64_t number);

  void ProcessTransmitLocked() REQUIRES(mutex_);
  void HandlePacketLocked(const DescriptorChain& chain) REQUIRES(mutex_);
  void HandleRequestLocked(const vsock::PacketHeader& header) REQUIRES(mutex_);
  // Where a new connection of the guest's leads to, or why it is refused.
  Result<std::unique_ptr<VsockStream>> AcceptLocked(Key key) REQUIRES(mutex_);
  void HandleForConnectionLocked(const vsock::PacketHeader& header, const DescriptorChain& chain)
      REQUIRES(mutex_);

  Entries::iterator AddLocked(std::unique_ptr<VsockConnection> connection) REQUIRES(mutex_);
  // Every removal goes through here, so that nothing of a connection stays behind: a guest opens
  // and resets connections without end.
  void EraseLocked(Entries::iterator entry) REQUIRES(mutex_);
  void CancelTimersLocked() REQUIRES(mutex_);
  // Removes the connection; the guest gets an RST.
  void ResetConnectionLocked(Entries::iterator entry) REQUIRES(mutex_);
  void OweResetLocked(Key key) REQUIRES(mutex_);
  // After anything has happened to a connection: ends it, or puts it into the queue of senders.
  void SettleLocked(Entries::iterator entry) REQUIRES(mutex_);
  // Fills receive buffers with what is owed and what streams have, in turns; later, if the machine
  // is paused.
  void PumpLocked() REQUIRES(mutex_);
  // Gives the guest its new CID, if it has one and there is an event buffer.
  void ChangeCidLocked() REQUIRES(mutex_);
  // Ends those that the guest knows of, as it does itself.
  void ForgetConnectionsLocked() REQUIRES(mutex_);
  // Goes on with transmission if it waited and need not any more.
  void UnstallLocked() REQUIRES(mutex_);
  bool SendResetLocked() REQUIRES(mutex_);
  bool SendFromNextLocked() REQUIRES(mutex_);
  std::optional<DescriptorChain> PopReceiveLocked() REQUIRES(mutex_);
  [[nodiscard]] vsock::PacketHeader HeaderFor(Key key) const REQUIRES(mutex_);

  EventLoop* const loop_;
  const std::map<uint32_t, VsockService*> services_;
  VsockService* const host_;
  GuestLog log_;
  VsockMetrics metrics_;

  mutable Mutex mutex_;
  std::vector<Virtqueue> queues_ GUARDED_BY(mutex_);  // Empty while inactive.
  Entries connections_ GUARDED_BY(mutex_);
  uint64_t next_number_ GUARDED_BY(mutex_) = 1;
  uint32_t next_host_port_ GUARDED_BY(mutex_) = 1U << 30;
  // Connections that may have a packet for the guest, by ticket: the first is the next.
  std::map<uint64_t, Key> to_send_ GUARDED_BY(mutex_);
  uint64_t next_ticket_ GUARDED_BY(mutex_) = 1;
  std::set<Key> owed_resets_ GUARDED_BY(mutex_);
  // Since Drain(): the guest's memory stays as it is until the transport asks for something.
  bool paused_ GUARDED_BY(mutex_) = false;
  uint64_t guest_cid_ GUARDED_BY(mutex_);
  uint64_t new_cid_ GUARDED_BY(mutex_);      // The same, unless the guest has to be told yet.
  bool stalled_ GUARDED_BY(mutex_) = false;  // Transmission waits for owed_resets_ to shrink.
};

}  // namespace mayfly
