#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "devices/virtio/net/net_backend.h"

namespace mayfly {

// A tap device of the host's, with the virtio header in front of every frame (Linux,
// Documentation/networking/tuntap.rst). Watched edge-triggered: while nobody reads, a full tap
// costs nothing, and one that is deleted tells so once.
class TapBackend final : public NetBackend {
 public:
  // Attaches to the tap `name`, which has to exist. kNotFound if it does not, kPermission if it is
  // somebody else's or in use, kInvalidArgument for what is no name or no tap. `loop` is borrowed.
  static Result<std::unique_ptr<TapBackend>> Open(const std::string& name, EventLoop* loop);
  // Its first half, for whoever hands the descriptor to somebody who may not open it.
  static Result<UniqueFd> Attach(const std::string& name);
  // The same with a descriptor that somebody else has attached, with IFF_TAP, IFF_NO_PI and
  // IFF_VNET_HDR; `name` is for errors.
  static Result<std::unique_ptr<TapBackend>> Create(UniqueFd fd, std::string name, EventLoop* loop);
  TapBackend(const TapBackend&) = delete;
  TapBackend& operator=(const TapBackend&) = delete;
  ~TapBackend() override;

  void SetReady(std::function<void()> ready) override { ready_ = std::move(ready); }
  Result<size_t> Read(std::span<const iovec> to) override;
  Result<void> Write(std::span<const iovec> frame) override;
  Result<void> SetOffloads(const NetOffloads& offloads) override;
  Result<void> SetCarrier(bool up) override;

 private:
  TapBackend(UniqueFd fd, std::string name, EventLoop* loop)
      : fd_(std::move(fd)), name_(std::move(name)), loop_(loop) {}

  const UniqueFd fd_;
  const std::string name_;
  EventLoop* const loop_;
  EventLoop::WatchId watch_ = 0;
  std::function<void()> ready_;
};

}  // namespace mayfly
