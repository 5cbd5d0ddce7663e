#pragma once

#include <chrono>

#include "devices/virtio/vsock/host_endpoint.h"

namespace mayfly {

// The endpoint of a process that may use no paths: an EndpointBroker in another process accepts and
// connects for it. Besides waiting, it only sends and receives messages. The loop's thread alone.
class BrokeredEndpoint final : public HostEndpoint {
 public:
  // The broker does nothing that takes time: one that is silent for so long has been stopped, and
  // the guest's other devices wait meanwhile.
  static constexpr std::chrono::milliseconds kPatience{1000};

  // The socket that clients come to, on which the broker listens, and the broker.
  BrokeredEndpoint(UniqueFd listener, UniqueFd broker)
      : listener_(std::move(listener)), broker_(std::move(broker)) {}

  Result<void> Listen() override { return {}; }
  [[nodiscard]] int listener() const override { return listener_.get(); }
  Result<UniqueFd> Accept() override;
  Result<UniqueFd> Connect(uint32_t port) override;

 private:
  const UniqueFd listener_;  // To be waited for, no more.
  const UniqueFd broker_;
  uint64_t number_ = 0;  // Of the last request.
};

}  // namespace mayfly
