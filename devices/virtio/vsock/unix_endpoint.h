#pragma once

#include <memory>
#include <string>

#include "devices/virtio/vsock/host_endpoint.h"

namespace mayfly {

// The endpoint of whoever may use paths: clients come to PATH, and the guest's connections to port
// N go to PATH_N.
class UnixEndpoint final : public HostEndpoint {
 public:
  static constexpr int kListenBacklog = 128;

  // Binds `path`. A socket that nobody listens on any more is replaced; kInvalidArgument if the
  // path is longer than a Unix socket address takes (with "_" and a port), or something else is
  // there.
  static Result<std::unique_ptr<UnixEndpoint>> Create(const std::string& path);
  UnixEndpoint(const UnixEndpoint&) = delete;
  UnixEndpoint& operator=(const UnixEndpoint&) = delete;
  // Removes the socket from the file system, if it is still this one.
  ~UnixEndpoint() override;

  Result<void> Listen() override;
  [[nodiscard]] int listener() const override { return listener_.get(); }
  [[nodiscard]] Result<UniqueFd> CopyListener() const { return listener_.Duplicate(); }
  Result<UniqueFd> Accept() override;
  Result<UniqueFd> Connect(uint32_t port) override;

 private:
  UnixEndpoint(std::string path, UniqueFd listener)
      : path_(std::move(path)), listener_(std::move(listener)) {}

  const std::string path_;
  const UniqueFd listener_;
  uint64_t device_ = 0;  // st_dev and st_ino of the socket in the file system.
  uint64_t inode_ = 0;
};

}  // namespace mayfly
