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

Result<void> CheckCid(uint64_t cid, const std::string& name) {
  if (cid >= kLeastGuestCid && cid <= kMostGuestCid) return {};
  return Fail(ErrorCode::kCorrupt, fmt::format("{}: guest_cid: {}, but {} to {} are possible", name,
                                               cid, kLeastGuestCid, kMostGuestCid));
}

}  // namespace

Result<std::unique_ptr<VsockDevice>> VsockDevice::Create(Resources resources,
                                                         const VsockState& state) {
  CHECK(resources.loop != nullptr);
  const std::string name = resources.name;
  TRY(CheckCid(state.guest_cid, name));
  if (resources.new_cid) TRY(CheckCid(*resources.new_cid, name));
  std::unique_ptr<VsockDevice> device(new VsockDevice(std::move(resources), state.guest_cid));
  TRY(WithContext(device->RestoreConnections(state), name));
  return device;
}

Result<void> VsockDevice::RestoreConnections(const VsockState& state) {
  if (state.connections.size() > kMaxConnections) {
    return Fail(ErrorCode::kCorrupt, fmt::format("connections: {}, {} are the most",
                                                 state.connections.size(), kMaxConnections));
  }
  if (state.resets.size() > kMaxConnections + kMaxOwedResets) {
    return Fail(ErrorCode::kCorrupt, fmt::format("resets: {}, {} are the most", state.resets.size(),
                                                 kMaxConnections + kMaxOwedResets));
  }
  MutexLock lock(mutex_);
  for (const VsockConnectionState& saved : state.connections) {
    const Key key{saved.guest_port, saved.host_port};
    const auto service = services_.find(key.host_port);
    if (service == services_.end() || connections_.contains(key)) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("connections: none can be from port {} to port {}", key.guest_port,
                              key.host_port));
    }
    auto stream = TRY(service->second->Accept(key.host_port));
    auto connection = TRY(WithContext(VsockConnection::Restore(saved, std::move(stream)),
                                      fmt::format("connection from port {}", key.guest_port)));
    SettleLocked(AddLocked(std::move(connection)));
  }
  for (const VsockResetState& reset : state.resets) {
    OweResetLocked({reset.guest_port, reset.host_port});
  }
  return {};
}

VsockState VsockDevice::Save() const {
  MutexLock lock(mutex_);
  VsockState state{guest_cid_};
  for (const auto& [key, entry] : connections_) {
    const VsockConnection& connection = *entry.connection;
    if (services_.contains(key.host_port) &&
        connection.state() == VsockConnection::State::kEstablished) {
      state.connections.push_back(connection.Save());
    } else if (connection.known_to_guest()) {
      state.resets.push_back({key.guest_port, key.host_port});
    }
  }
  for (const Key& key : owed_resets_) state.resets.push_back({key.guest_port, key.host_port});
  return state;
}

VsockDevice::VsockDevice(Resources resources, uint64_t guest_cid)
    : loop_(resources.loop),
      services_(std::move(resources.services)),
      host_(resources.host),
      log_(resources.log, resources.name),
      guest_cid_(guest_cid),
      new_cid_(resources.new_cid.value_or(guest_cid)) {}

VsockDevice::~VsockDevice() {
  MutexLock lock(mutex_);
  CancelTimersLocked();
}

void VsockDevice::ReadConfig(uint64_t offset, std::span<uint8_t> out) {
  MutexLock lock(mutex_);
  const auto config = BytesOf(guest_cid_);
  if (offset >= config.size()) return;
  const size_t count = std::min<size_t>(out.size(), config.size() - offset);
  std::ranges::copy(config.subspan(offset, count), out.begin());
}

void VsockDevice::WriteConfig(uint64_t /*offset*/, std::span<const uint8_t> /*bytes*/) {}

void VsockDevice::Activate(std::vector<Virtqueue> queues, uint64_t /*driver_features*/) {
  MutexLock lock(mutex_);
  queues_ = std::move(queues);
  // What a restored device owes goes out once the machine runs.
  if (!to_send_.empty() || !owed_resets_.empty()) queues_[kReceive].ProcessLater();
  if (new_cid_ != guest_cid_) queues_[kEvent].ProcessLater();
}

void VsockDevice::Reset() {
  MutexLock lock(mutex_);
  queues_.clear();
  CancelTimersLocked();
  connections_.clear();
  to_send_.clear();
  owed_resets_.clear();
  guest_cid_ = new_cid_;  // A driver that begins reads it.
  stalled_ = false;
  paused_ = false;
  metrics_.connections.Set(0);
}

void VsockDevice::Drain() {
  MutexLock lock(mutex_);
  paused_ = true;
}

std::vector<VirtqueueState> VsockDevice::SaveQueues() const {
  MutexLock lock(mutex_);
  std::vector<VirtqueueState> states;
  states.reserve(queues_.size());
  for (const Virtqueue& queue : queues_) states.push_back(queue.Save());
  return states;
}

void VsockDevice::ProcessQueue(uint16_t index) {
  MutexLock lock(mutex_);
  paused_ = false;
  if (index == kTransmit) ProcessTransmitLocked();
  if (index == kReceive || index == kTransmit) PumpLocked();
  if (index == kEvent) ChangeCidLocked();
}

void VsockDevice::ChangeCidLocked() {
  if (new_cid_ == guest_cid_) return;
  Virtqueue& queue = queues_[kEvent];
  std::optional<DescriptorChain> chain = queue.Pop();
  if (!chain) return;
  const vsock::Event event{vsock::kEventTransportReset};
  if (chain->writable_size() < sizeof(event)) {
    log_.Warn("an event buffer of {} bytes is too small", chain->writable_size());
    queue.Complete(*std::move(chain), 0);
  } else {
    chain->CopyTo(queue.memory(), 0, BytesOf(event));
    queue.Complete(*std::move(chain), sizeof(event));
    guest_cid_ = new_cid_;
    ForgetConnectionsLocked();
  }
  queue.Notify();
}

void VsockDevice::ForgetConnectionsLocked() {
  for (auto entry = connections_.begin(); entry != connections_.end();) {
    const auto next = std::next(entry);
    if (entry->second.connection->known_to_guest()) EraseLocked(entry);
    entry = next;
  }
}

bool VsockDevice::Connect(uint32_t guest_port, std::unique_ptr<VsockStream> stream,
                          std::function<void(uint32_t, VsockStream&)> connected) {
  MutexLock lock(mutex_);
  if (queues_.empty() || connections_.size() >= kMaxConnections) return false;
  Key key{guest_port, next_host_port_};
  while (connections_.contains(key)) ++key.host_port;
  // The upper half of the ports, so that none is one that a guest asks for.
  next_host_port_ = (key.host_port + 1) | 1U << 30;
  const auto entry = AddLocked(std::make_unique<VsockConnection>(
      key.guest_port, key.host_port, VsockConnection::State::kConnecting, std::move(stream)));
  entry->second.connected = std::move(connected);
  entry->second.timer = loop_->After(kConnectTimeout, [this, key, number = entry->second.number] {
    ConnectTimedOut(key, number);
  });
  SettleLocked(entry);
  PumpLocked();
  return true;
}

VsockDevice::Entries::iterator VsockDevice::AddLocked(std::unique_ptr<VsockConnection> connection) {
  const uint64_t number = next_number_++;
  const Key key{connection->guest_port(), connection->host_port()};
  connection->stream().SetReady([this, key, number] { StreamReady(key, number); });
  const auto entry =
      connections_.insert_or_assign(key, Entry{number, std::move(connection), nullptr, 0}).first;
  metrics_.connections.Set(connections_.size());
  return entry;
}

void VsockDevice::StreamReady(Key key, uint64_t number) {
  MutexLock lock(mutex_);
  metrics_.host_events.Add();
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

void VsockDevice::CancelTimersLocked() {
  for (const auto& [key, entry] : connections_) loop_->Cancel(entry.timer);
}

void VsockDevice::ConnectTimedOut(Key key, uint64_t number) {
  MutexLock lock(mutex_);
  const auto entry = connections_.find(key);
  if (entry == connections_.end() || entry->second.number != number) return;
  if (entry->second.connection->state() != VsockConnection::State::kConnecting) return;
  metrics_.timed_out.Add();
  ResetConnectionLocked(entry);
  PumpLocked();
}

void VsockDevice::ProcessTransmitLocked() {
  Virtqueue& queue = queues_[kTransmit];
  // At most what the queue holds at once: another vCPU can refill it as fast as it is emptied.
  for (uint16_t i = 0; i < kQueueSize; ++i) {
    stalled_ = owed_resets_.size() >= kMaxOwedResets;
    std::optional<DescriptorChain> chain;
    if (!stalled_) chain = queue.Pop();
    if (!chain) {
      if (stalled_) metrics_.stalls.Add();
      queue.Notify();
      return;
    }
    metrics_.packets_from_guest.Add();
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
    metrics_.malformed.Add();
    log_.Warn("a packet is shorter than its header");
    return;
  }
  if (header.src_cid != guest_cid_) {
    metrics_.malformed.Add();
    const uint64_t cid = header.src_cid;
    log_.Warn("a packet claims to come from CID {}", cid);
    return;
  }
  if (!IsWellFormed(header, chain.readable_size())) {
    metrics_.malformed.Add();
    const uint64_t cid = header.dst_cid;
    const uint16_t type = header.type;
    const uint16_t op = header.op;
    const uint32_t length = header.len;
    log_.Warn("a packet is malformed or for nobody (CID {}, type {}, op {}, {} bytes)", cid, type,
              op, length);
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
  Result<std::unique_ptr<VsockStream>> stream = AcceptLocked(key);
  if (!stream) {
    metrics_.refused.Add();
    log_.Warn("connection to port {} refused: {}", key.host_port, stream.error().message());
    OweResetLocked(key);
    return;
  }
  metrics_.accepted.Add();
  const auto entry = AddLocked(std::make_unique<VsockConnection>(
      key.guest_port, key.host_port, VsockConnection::State::kEstablished, *std::move(stream)));
  entry->second.connection->UpdateCredit(header);
  SettleLocked(entry);
}

Result<std::unique_ptr<VsockStream>> VsockDevice::AcceptLocked(Key key) {
  if (connections_.size() >= kMaxConnections) {
    return Fail(ErrorCode::kGuest, fmt::format("{} are open", connections_.size()));
  }
  const auto service = services_.find(key.host_port);
  VsockService* const to = service != services_.end() ? service->second : host_;
  if (to == nullptr) return Fail(ErrorCode::kGuest, "nobody listens");
  return to->Accept(key.host_port);
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
    EraseLocked(entry);
    return;
  }
  VsockConnection& connection = *entry->second.connection;
  if (!connection.HandlePacket(header, chain, queues_[kTransmit].memory())) {
    ResetConnectionLocked(entry);
    return;
  }
  metrics_.bytes_to_host.Add(header.len);
  if (entry->second.connected && connection.state() == VsockConnection::State::kEstablished) {
    metrics_.accepted.Add();
    loop_->Cancel(entry->second.timer);
    std::exchange(entry->second.connected, nullptr)(key.host_port, connection.stream());
  }
  SettleLocked(entry);
}

void VsockDevice::EraseLocked(Entries::iterator entry) {
  if (entry->second.ticket != 0) to_send_.erase(entry->second.ticket);
  loop_->Cancel(entry->second.timer);
  connections_.erase(entry);
  metrics_.connections.Set(connections_.size());
}

void VsockDevice::ResetConnectionLocked(Entries::iterator entry) {
  const Key key = entry->first;
  const bool known = entry->second.connection->known_to_guest();
  EraseLocked(entry);
  if (known) OweResetLocked(key);
}

void VsockDevice::OweResetLocked(Key key) {
  metrics_.resets.Add();
  // Bounded: a packet adds one only below kMaxOwedResets, a host's end one for its connection, and
  // no REQUEST goes out before these.
  owed_resets_.insert(key);
}

void VsockDevice::SettleLocked(Entries::iterator entry) {
  VsockConnection& connection = *entry->second.connection;
  if (connection.finished()) {
    ResetConnectionLocked(entry);
    return;
  }
  connection.UpdateInterest();
  if (connection.wants_to_send() && entry->second.ticket == 0) {
    entry->second.ticket = next_ticket_++;
    to_send_.emplace(entry->second.ticket, entry->first);
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
  if (paused_) {
    queues_[kReceive].ProcessLater();
    return;
  }
  unsigned sent = 0;
  bool more = true;
  while (more && sent < kMaxTurnPackets) {
    more = SendResetLocked() || SendFromNextLocked();
    ++sent;
  }
  queues_[kReceive].Notify();
  if (more) queues_[kReceive].ProcessLater();
  UnstallLocked();
}

void VsockDevice::UnstallLocked() {
  if (!stalled_ || owed_resets_.size() >= kMaxOwedResets) return;
  stalled_ = false;
  queues_[kTransmit].ProcessLater();
}

std::optional<DescriptorChain> VsockDevice::PopReceiveLocked() {
  Virtqueue& queue = queues_[kReceive];
  // Not for ever: another vCPU can offer useless buffers as fast as they are returned.
  for (uint16_t i = 0; i < kQueueSize; ++i) {
    std::optional<DescriptorChain> chain = queue.Pop();
    // One that has no room for payload could be offered again and again without anything done.
    if (!chain || chain->writable_size() > sizeof(PacketHeader)) return chain;
    log_.Warn("a receive buffer of {} bytes is too small", chain->writable_size());
    queue.Complete(*std::move(chain), 0);
  }
  queue.ProcessLater();
  return std::nullopt;
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
  metrics_.packets_to_guest.Add();
  return true;
}

bool VsockDevice::SendFromNextLocked() {
  if (to_send_.empty()) return false;
  std::optional<DescriptorChain> chain = PopReceiveLocked();
  if (!chain) return false;  // The guest kicks when it has room again.
  const auto entry = connections_.find(to_send_.begin()->second);
  CHECK(entry != connections_.end());
  to_send_.erase(to_send_.begin());
  entry->second.ticket = 0;
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
    metrics_.packets_to_guest.Add();
    metrics_.bytes_to_guest.Add(*length - sizeof(PacketHeader));
  }
  SettleLocked(entry);
  return true;
}

}  // namespace mayfly
