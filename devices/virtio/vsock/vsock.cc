#include "devices/virtio/vsock/vsock.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"

namespace mayfly {
namespace {

using vsock::Op;
using vsock::PacketHeader;

constexpr uint64_t kLeastGuestCid = 3;
constexpr uint64_t kMostGuestCid = 0xfffffffe;

}  // namespace

Result<std::unique_ptr<VsockDevice>> VsockDevice::Create(Resources resources,
                                                         const VsockState& state) {
  if (state.guest_cid < kLeastGuestCid || state.guest_cid > kMostGuestCid) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: guest_cid: {}, but {} to {} are possible", resources.name,
                            state.guest_cid, kLeastGuestCid, kMostGuestCid));
  }
  CHECK(resources.loop != nullptr);
  return std::unique_ptr<VsockDevice>(new VsockDevice(std::move(resources), state.guest_cid));
}

VsockDevice::VsockDevice(Resources resources, uint64_t guest_cid)
    : guest_cid_(guest_cid),
      loop_(resources.loop),
      services_(std::move(resources.services)),
      host_(resources.host),
      log_(resources.log, resources.name) {}

void VsockDevice::ReadConfig(uint64_t offset, std::span<uint8_t> out) {
  const auto config = BytesOf(guest_cid_);
  if (offset >= config.size()) return;
  const size_t count = std::min<size_t>(out.size(), config.size() - offset);
  std::ranges::copy(config.subspan(offset, count), out.begin());
}

void VsockDevice::WriteConfig(uint64_t /*offset*/, std::span<const uint8_t> /*bytes*/) {}

void VsockDevice::Activate(std::vector<Virtqueue> queues, uint64_t /*driver_features*/) {
  MutexLock lock(mutex_);
  queues_ = std::move(queues);
}

void VsockDevice::Reset() {
  MutexLock lock(mutex_);
  queues_.clear();
  connections_.clear();
  to_send_.clear();
  owed_resets_.clear();
}

std::vector<VirtqueueState> VsockDevice::SaveQueues() const {
  MutexLock lock(mutex_);
  std::vector<VirtqueueState> states;
  for (const Virtqueue& queue : queues_) states.push_back(queue.Save());
  return states;
}

void VsockDevice::ProcessQueue(uint16_t index) {
  MutexLock lock(mutex_);
  if (index == kTransmit) ProcessTransmitLocked();
  if (index == kReceive || index == kTransmit) PumpLocked();
  // Nothing is ever put into the event queue: transport resets belong to restored machines.
}

bool VsockDevice::Connect(uint32_t guest_port, std::unique_ptr<VsockStream> stream,
                          std::function<void(uint32_t, VsockStream&)> connected) {
  MutexLock lock(mutex_);
  if (queues_.empty() || connections_.size() >= kMaxConnections) return false;
  Key key{guest_port, next_host_port_};
  while (connections_.contains(key)) ++key.host_port;
  // The upper half of the ports, so that none is one that a guest asks for.
  next_host_port_ = (key.host_port + 1) | 1U << 30;
  const auto entry = AddLocked(key, VsockConnection::State::kConnecting, std::move(stream));
  entry->second.connected = std::move(connected);
  loop_->After(kConnectTimeout,
               [this, key, number = entry->second.number] { ConnectTimedOut(key, number); });
  SettleLocked(entry);
  PumpLocked();
  return true;
}

VsockDevice::Entries::iterator VsockDevice::AddLocked(Key key, VsockConnection::State state,
                                                      std::unique_ptr<VsockStream> stream) {
  const uint64_t number = next_number_++;
  stream->SetReady([this, key, number] { StreamReady(key, number); });
  auto connection =
      std::make_unique<VsockConnection>(key.guest_port, key.host_port, state, std::move(stream));
  return connections_.insert_or_assign(key, Entry{number, std::move(connection), nullptr, false})
      .first;
}

void VsockDevice::StreamReady(Key key, uint64_t number) {
  MutexLock lock(mutex_);
  const auto entry = connections_.find(key);
  if (entry == connections_.end() || entry->second.number != number) return;
  entry->second.connection->HostReady();
  if (!entry->second.connection->Flush()) {
    ResetConnectionLocked(entry);
  } else {
    SettleLocked(entry);
  }
  PumpLocked();
}

void VsockDevice::ConnectTimedOut(Key key, uint64_t number) {
  MutexLock lock(mutex_);
  const auto entry = connections_.find(key);
  if (entry == connections_.end() || entry->second.number != number) return;
  if (entry->second.connection->state() != VsockConnection::State::kConnecting) return;
  ResetConnectionLocked(entry);
  PumpLocked();
}

void VsockDevice::ProcessTransmitLocked() {
  Virtqueue& queue = queues_[kTransmit];
  // At most what the queue holds at once: another vCPU can refill it as fast as it is emptied.
  for (uint16_t i = 0; i < kQueueSize; ++i) {
    std::optional<DescriptorChain> chain = queue.Pop();
    if (!chain) {
      queue.Notify();
      return;
    }
    HandlePacketLocked(*chain);
    queue.Complete(*std::move(chain), 0);
  }
  queue.Notify();
  queue.ProcessLater();
}

void VsockDevice::HandlePacketLocked(const DescriptorChain& chain) {
  const GuestMemory& memory = queues_[kTransmit].memory();
  PacketHeader header{};
  if (chain.CopyFrom(memory, 0, MutableBytesOf(header)) != sizeof(header)) {
    log_.Warn("a packet is shorter than its header");
    return;
  }
  if (header.src_cid != guest_cid_) {
    log_.Warn("a packet claims to come from CID {}", uint64_t{header.src_cid});
    return;
  }
  const bool addressed = header.dst_cid == vsock::kHostCid && header.type == vsock::kTypeStream;
  const bool whole = header.len <= chain.readable_size() - sizeof(header) &&
                     header.len <= vsock::kMaxPayload;
  const bool length_fits_op = header.len == 0 || header.op == static_cast<uint16_t>(Op::kRw);
  if (!addressed || !whole || !length_fits_op) {
    log_.Warn("a packet is malformed or for nobody (CID {}, type {}, op {}, {} bytes)",
              uint64_t{header.dst_cid}, uint16_t{header.type}, uint16_t{header.op},
              uint32_t{header.len});
    const auto entry = connections_.find({header.src_port, header.dst_port});
    if (entry != connections_.end()) {
      ResetConnectionLocked(entry);
    } else if (header.op != static_cast<uint16_t>(Op::kRst)) {
      OweResetLocked({header.src_port, header.dst_port});
    }
    return;
  }
  if (header.op == static_cast<uint16_t>(Op::kRequest)) {
    HandleRequestLocked(header);
  } else {
    HandleForConnectionLocked(header, chain);
  }
}

void VsockDevice::HandleRequestLocked(const PacketHeader& header) {
  const Key key{header.src_port, header.dst_port};
  const auto existing = connections_.find(key);
  if (existing != connections_.end()) {
    // A second connection on the same pair of ports is none.
    ResetConnectionLocked(existing);
    return;
  }
  if (connections_.size() >= kMaxConnections) {
    log_.Warn("connection refused: {} are open", connections_.size());
    OweResetLocked(key);
    return;
  }
  const auto service = services_.find(key.host_port);
  VsockService* const to = service != services_.end() ? service->second : host_;
  if (to == nullptr) {
    OweResetLocked(key);
    return;
  }
  Result<std::unique_ptr<VsockStream>> stream = to->Accept(key.host_port);
  if (!stream) {
    log_.Warn("connection to port {} refused: {}", key.host_port, stream.error().message());
    OweResetLocked(key);
    return;
  }
  const auto entry = AddLocked(key, VsockConnection::State::kEstablished, *std::move(stream));
  entry->second.connection->UpdateCredit(header);
  SettleLocked(entry);
}

void VsockDevice::HandleForConnectionLocked(const PacketHeader& header,
                                            const DescriptorChain& chain) {
  const Key key{header.src_port, header.dst_port};
  const auto entry = connections_.find(key);
  const bool is_reset = header.op == static_cast<uint16_t>(Op::kRst);
  if (entry == connections_.end()) {
    // An RST is never answered with another.
    if (!is_reset) OweResetLocked(key);
    return;
  }
  if (is_reset) {
    connections_.erase(entry);
    return;
  }
  VsockConnection& connection = *entry->second.connection;
  if (!connection.HandlePacket(header, chain, queues_[kTransmit].memory())) {
    ResetConnectionLocked(entry);
    return;
  }
  if (entry->second.connected && connection.state() == VsockConnection::State::kEstablished) {
    std::exchange(entry->second.connected, nullptr)(key.host_port, connection.stream());
  }
  SettleLocked(entry);
}

void VsockDevice::ResetConnectionLocked(Entries::iterator entry) {
  const Key key = entry->first;
  connections_.erase(entry);
  OweResetLocked(key);
}

void VsockDevice::OweResetLocked(Key key) {
  if (owed_resets_.size() >= kMaxOwedResets) {
    log_.Warn("a reset is not sent: {} already wait", owed_resets_.size());
    return;
  }
  owed_resets_.insert(key);
}

void VsockDevice::SettleLocked(Entries::iterator entry) {
  VsockConnection& connection = *entry->second.connection;
  if (connection.finished()) {
    ResetConnectionLocked(entry);
    return;
  }
  if (!connection.wants_to_send()) {
    connection.UpdateInterest();
  } else if (!entry->second.queued) {
    entry->second.queued = true;
    to_send_.push_back(entry->first);
  }
}

PacketHeader VsockDevice::HeaderFor(Key key) const {
  PacketHeader header{};
  header.src_cid = vsock::kHostCid;
  header.dst_cid = guest_cid_;
  header.src_port = key.host_port;
  header.dst_port = key.guest_port;
  header.type = vsock::kTypeStream;
  return header;
}

void VsockDevice::PumpLocked() {
  if (queues_.empty()) return;
  unsigned sent = 0;
  bool more = true;
  while (more && sent < kMaxTurnPackets) {
    more = SendResetLocked() || SendFromNextLocked();
    ++sent;
  }
  queues_[kReceive].Notify();
  if (more) queues_[kReceive].ProcessLater();
}

std::optional<DescriptorChain> VsockDevice::PopReceiveLocked() {
  Virtqueue& queue = queues_[kReceive];
  while (true) {
    std::optional<DescriptorChain> chain = queue.Pop();
    // One that has no room for payload could be offered again and again without anything done.
    if (!chain || chain->writable_size() > sizeof(PacketHeader)) return chain;
    log_.Warn("a receive buffer of {} bytes is too small", chain->writable_size());
    queue.Complete(*std::move(chain), 0);
  }
}

bool VsockDevice::SendResetLocked() {
  if (owed_resets_.empty()) return false;
  std::optional<DescriptorChain> chain = PopReceiveLocked();
  if (!chain) return false;
  const Key key = *owed_resets_.begin();
  owed_resets_.erase(owed_resets_.begin());
  PacketHeader header = HeaderFor(key);
  header.op = static_cast<uint16_t>(Op::kRst);
  Virtqueue& queue = queues_[kReceive];
  chain->CopyTo(queue.memory(), 0, BytesOf(header));
  queue.Complete(*std::move(chain), sizeof(header));
  return true;
}

bool VsockDevice::SendFromNextLocked() {
  while (!to_send_.empty()) {
    const auto entry = connections_.find(to_send_.front());
    if (entry == connections_.end() || !entry->second.queued) {
      to_send_.pop_front();  // Gone since.
      continue;
    }
    std::optional<DescriptorChain> chain = PopReceiveLocked();
    if (!chain) return false;  // The guest kicks when it has room again.
    to_send_.pop_front();
    entry->second.queued = false;
    Virtqueue& queue = queues_[kReceive];
    const Result<uint32_t> length =
        entry->second.connection->FillPacket(HeaderFor(entry->first), *chain, queue.memory());
    if (!length) {
      queue.UndoPop(*std::move(chain));
      ResetConnectionLocked(entry);
      return true;
    }
    if (*length == 0) {
      queue.UndoPop(*std::move(chain));
    } else {
      queue.Complete(*std::move(chain), *length);
    }
    SettleLocked(entry);
    return true;
  }
  return false;
}

}  // namespace mayfly
