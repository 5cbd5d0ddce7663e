#include "devices/virtio/net/net.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/config_space.h"
#include "devices/virtio/net/net_header.h"

namespace mayfly {
namespace {

using namespace net;

// What a frame begins with. Copied from the guest in one piece, so that what is checked is what is
// sent, whatever the guest writes meanwhile.
struct FrameStart {
  Header header;
  EthernetHeader ethernet;
};
static_assert(sizeof(FrameStart) == 26);

bool IsStation(const MacAddress& mac) {
  constexpr uint8_t kGroupBit = 1;
  return mac != MacAddress{} && (mac[0] & kGroupBit) == 0;
}

}  // namespace

Result<std::unique_ptr<NetDevice>> NetDevice::Create(Resources resources, const NetState& state) {
  CHECK(resources.backend != nullptr && resources.loop != nullptr);
  if (!IsStation(state.mac)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: mac: {:02x} is not the address of one station", resources.name,
                            fmt::join(state.mac, ":")));
  }
  if (state.mtu != 0 && state.mtu < NetState::kLeastMtu) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: mtu: {}, but {} is the least", resources.name, state.mtu,
                            NetState::kLeastMtu));
  }
  const std::string name = resources.name;
  std::unique_ptr<NetDevice> device(new NetDevice(std::move(resources), state));
  if (!state.link_up) TRY(WithContext(device->backend_->SetCarrier(false), name));
  NetDevice* const self = device.get();
  device->backend_->SetReady([self] { self->BackendReady(); });
  return device;
}

NetDevice::NetDevice(Resources resources, const NetState& state)
    : mac_(state.mac),
      mtu_(state.mtu),
      filter_source_(resources.filter_source),
      loop_(resources.loop),
      log_(resources.log, resources.name),
      link_up_(state.link_up),
      receive_limiter_(resources.receive_limits),
      transmit_limiter_(resources.transmit_limits),
      backend_(std::move(resources.backend)) {}

NetDevice::~NetDevice() {
  MutexLock lock(mutex_);
  for (const EventLoop::TimerId timer : timers_) loop_->Cancel(timer);
}

uint64_t NetDevice::features() const {
  return kFeatureCsum | kFeatureGuestCsum | kFeatureMac | kFeatureGuestTso4 | kFeatureGuestTso6 |
         kFeatureHostTso4 | kFeatureHostTso6 | kFeatureMergeableBuffers | kFeatureStatus |
         (mtu_ != 0 ? kFeatureMtu : 0);
}

void NetDevice::ReadConfig(uint64_t offset, std::span<uint8_t> out) {
  MutexLock lock(mutex_);
  Config config{};
  config.mac = mac_;
  config.status = link_up_ ? kStatusLinkUp : 0;
  config.mtu = mtu_;
  CopyConfig(BytesOf(config), offset, out);
}

// No field of our features' is writable.
void NetDevice::WriteConfig(uint64_t, std::span<const uint8_t>) {}

void NetDevice::SetLink(bool up) {
  {
    MutexLock lock(mutex_);
    if (link_up_ == up) return;
    link_up_ = up;
    if (!up && receive_) receive_->DropFrame();
    if (const auto set = backend_->SetCarrier(up); !set) log_.Warn("{}", set.error().message());
    if (up && receive_) receive_->ProcessLater();
  }
  if (config_changed_) config_changed_();
}

void NetDevice::Activate(std::vector<Virtqueue> queues, uint64_t driver_features) {
  MutexLock lock(mutex_);
  driver_features_ = driver_features;
  receive_.emplace(std::move(queues[kReceive]), has(kFeatureMergeableBuffers));
  transmit_ = std::move(queues[kTransmit]);
  NetOffloads offloads;
  offloads.checksum = has(kFeatureGuestCsum);
  offloads.tso4 = has(kFeatureGuestCsum | kFeatureGuestTso4);
  offloads.tso6 = has(kFeatureGuestCsum | kFeatureGuestTso6);
  if (const auto set = backend_->SetOffloads(offloads); !set) {
    // Frames that the guest does not understand are dropped, see Understood().
    log_.Warn("{}", set.error().message());
  }
  // For buffers that were given before, by a driver that will not kick for them again.
  receive_->ProcessLater();
}

void NetDevice::Reset() {
  MutexLock lock(mutex_);
  paused_ = false;
  receive_.reset();
  transmit_.reset();
  driver_features_ = 0;
}

void NetDevice::Drain() {
  MutexLock lock(mutex_);
  paused_ = true;
}

std::vector<VirtqueueState> NetDevice::SaveQueues() const {
  MutexLock lock(mutex_);
  CHECK(receive_.has_value() && transmit_.has_value());
  return {receive_->SaveQueue(), transmit_->Save()};
}

NetState NetDevice::Save() const {
  MutexLock lock(mutex_);
  return {mac_, mtu_, link_up_};
}

void NetDevice::ProcessQueue(uint16_t index) {
  MutexLock lock(mutex_);
  paused_ = false;
  if (index == kReceive) ReceiveLocked();
  if (index == kTransmit) TransmitLocked();
}

void NetDevice::BackendReady() {
  MutexLock lock(mutex_);
  readable_ = true;
  ProcessLocked(kReceive);
}

void NetDevice::ProcessLocked(Queue queue) {
  if (paused_) {
    receive_->ProcessLater();  // Of both queues, once the machine runs again.
  } else if (queue == kReceive) {
    ReceiveLocked();
  } else {
    TransmitLocked();
  }
}

void NetDevice::ReceiveLocked() {
  if (!receive_) return;
  // Bounded, because frames may come as fast as they are taken.
  for (unsigned i = 0; i < kMostTurnFrames; ++i) {
    if (!ReceiveFrameLocked()) {
      receive_->Notify();
      return;
    }
  }
  receive_->Notify();
  receive_->ProcessLater();
}

bool NetDevice::ReceiveFrameLocked() {
  if (receive_->frame_length() == 0 && !ReadFrameLocked()) return false;
  if (receive_->frame_length() == 0) return true;
  switch (receive_->MakeRoom()) {
    case ReceiveBuffers::Fit::kNotYet:
      metrics_.rx_starved.Add();
      return false;
    case ReceiveBuffers::Fit::kNever:
      metrics_.rx_dropped.Add();
      log_.Warn("a frame of {} bytes does not fit into the guest's buffers",
                receive_->frame_length());
      receive_->DropFrame();
      return true;
    case ReceiveBuffers::Fit::kYes:
      break;
  }
  const size_t bytes = receive_->frame_length() - sizeof(Header);
  const auto wait = receive_limiter_.Take(bytes);
  if (wait > EventLoop::Clock::duration::zero()) {
    metrics_.rx_throttled.Add();
    WaitLocked(kReceive, wait);
    return false;
  }
  receive_->Deliver();
  metrics_.rx_frames.Add();
  metrics_.rx_bytes.Add(bytes);
  return true;
}

bool NetDevice::ReadFrameLocked() {
  if (!readable_ || !link_up_) return false;
  if (!receive_->Prepare()) {
    metrics_.rx_starved.Add();
    return false;
  }
  const Result<size_t> length = backend_->Read(receive_->iovecs());
  if (!length || *length == 0) readable_ = false;
  if (!length) {
    metrics_.rx_errors.Add();
    log_.Warn("{}", length.error().message());
  }
  if (!readable_) return false;
  if (*length <= sizeof(Header) || *length > kMostFrameBytes ||
      !Understood(receive_->header(), driver_features_)) {
    metrics_.rx_errors.Add();
    return true;
  }
  receive_->SetFrame(*length);
  // Without the offload its flags are 0 (5.1.6.4.1), even one that says all is well.
  if (!has(kFeatureGuestCsum)) receive_->header().flags = 0;
  return true;
}

void NetDevice::TransmitLocked() {
  if (!transmit_) return;
  // Bounded, because another vCPU can refill the queue as fast as it is emptied.
  for (unsigned i = 0; i < kMostTurnFrames; ++i) {
    std::optional<DescriptorChain> chain = transmit_->Pop();
    if (!chain) {
      transmit_->Notify();
      return;
    }
    const auto wait =
        transmit_limiter_.Take(std::min<size_t>(chain->readable_size(), kMostFrameBytes));
    if (wait > EventLoop::Clock::duration::zero()) {
      metrics_.tx_throttled.Add();
      transmit_->UndoPop(*std::move(chain));
      transmit_->Notify();
      WaitLocked(kTransmit, wait);
      return;
    }
    SendLocked(*chain);
    transmit_->Complete(*std::move(chain), 0);
  }
  transmit_->Notify();
  transmit_->ProcessLater();
}

void NetDevice::SendLocked(const DescriptorChain& chain) {
  const size_t size = chain.readable_size();
  FrameStart start{};
  if (size < sizeof(start) || size > kMostFrameBytes) {
    metrics_.tx_malformed.Add();
    log_.Warn("a frame of {} bytes with its header", size);
    return;
  }
  const GuestMemory& memory = transmit_->memory();
  if (chain.CopyFrom(memory, 0, MutableBytesOf(start)) != sizeof(start)) return;
  const std::optional<Header> header = Trusted(start.header, driver_features_);
  if (!header) {
    metrics_.tx_malformed.Add();
    log_.Warn("a frame with gso_type {:#x} and flags {:#x}", start.header.gso_type,
              start.header.flags);
    return;
  }
  if (filter_source_ && start.ethernet.source != mac_) {
    metrics_.tx_filtered.Add();
    log_.Warn("a frame with the source address {:02x}", fmt::join(start.ethernet.source, ":"));
    return;
  }
  if (!link_up_) {
    metrics_.tx_dropped.Add();
    return;
  }
  start.header = *header;
  const auto rest = chain.ReadableIovecs(memory, sizeof(start), size - sizeof(start));
  iovecs_.assign(1, {&start, sizeof(start)});
  iovecs_.insert(iovecs_.end(), rest.begin(), rest.end());
  if (const auto written = backend_->Write(iovecs_); !written) {
    metrics_.tx_errors.Add();
    log_.Warn("{}", written.error().message());
    return;
  }
  metrics_.tx_frames.Add();
  metrics_.tx_bytes.Add(size - sizeof(Header));
}

void NetDevice::WaitLocked(Queue queue, EventLoop::Clock::duration wait) {
  if (timers_[queue] != 0) return;
  timers_[queue] = loop_->After(wait, [this, queue] {
    MutexLock lock(mutex_);
    timers_[queue] = 0;
    ProcessLocked(queue);
  });
}

}  // namespace mayfly
