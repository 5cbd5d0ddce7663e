#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "devices/virtio/vsock/port_range.h"
#include "devices/virtio/vsock/unix_endpoint.h"

namespace mayfly {

// The half of a BrokeredEndpoint that may use paths, in the supervisor of a jailed machine. It
// takes a kind and a port from the machine, which may have been taken over, and nothing else. One
// thread.
class EndpointBroker {
 public:
  using Clock = std::chrono::steady_clock;

  // More requests in a second are refused: nobody keeps the host busy with them.
  static constexpr uint32_t kMostInASecond = 10'000;

  // Listens on `path`, as UnixEndpoint does. The machine gets connections to the ports of `policy`.
  static Result<std::unique_ptr<EndpointBroker>> Create(const std::string& path, PortPolicy policy);

  // Readable when Serve() has something to do.
  [[nodiscard]] int fd() const { return ours_.get(); }
  // What BrokeredEndpoint takes: the listening socket, and the other end, once.
  [[nodiscard]] Result<UniqueFd> CopyListener() const { return endpoint_->CopyListener(); }
  UniqueFd TakeMachineEnd() { return std::move(theirs_); }

  // Answers one request, at `now`. False if there will be no more, or what came is none.
  bool Serve(Clock::time_point now);

 private:
  EndpointBroker(std::unique_ptr<UnixEndpoint> endpoint, PortPolicy policy, UniqueFd ours,
                 UniqueFd theirs)
      : endpoint_(std::move(endpoint)),
        policy_(std::move(policy)),
        ours_(std::move(ours)),
        theirs_(std::move(theirs)) {}
  bool CountIn(Clock::time_point now);

  const std::unique_ptr<UnixEndpoint> endpoint_;
  const PortPolicy policy_;
  const UniqueFd ours_;
  UniqueFd theirs_;
  Clock::time_point second_{};  // When the count began.
  uint32_t count_ = 0;
};

}  // namespace mayfly
