#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "devices/virtio/vsock/vsock_stream.h"

namespace mayfly {

// The host's end of one connection, as a test sees it. Outlives the stream that the device has.
struct FakeHostEnd {
  // Tells the device that it is ready, which answers what the device waited for.
  void Ready() {
    waits_to_read = waits_to_write = false;
    ready();
  }

  // For the guest to read: these bytes, then the end if `ended`; or zeros without end.
  std::string to_guest;
  bool ended = false;
  bool endless = false;
  // What it takes of the guest's bytes, and has taken. A large transfer is not kept.
  size_t room = SIZE_MAX;
  bool keep = true;
  std::string from_guest;
  bool broken = false;  // Every read and write fails.

  bool write_shut_down = false;
  bool read_shut_down = false;
  bool destroyed = false;
  bool waits_to_read = false;
  bool waits_to_write = false;
  int interests = 0;  // Calls of SetInterest().
  std::function<void()> ready;
};

class FakeVsockStream final : public VsockStream {
 public:
  explicit FakeVsockStream(std::shared_ptr<FakeHostEnd> host) : host_(std::move(host)) {}
  ~FakeVsockStream() override { host_->destroyed = true; }

  Result<size_t> Read(std::span<const iovec> to) override {
    if (host_->broken) return Fail(ErrorCode::kHost, "read: injected");
    if (host_->endless) return Length(to);
    if (host_->to_guest.empty()) return host_->ended ? 0 : kWouldBlock;
    const size_t count = std::min(Length(to), host_->to_guest.size());
    size_t done = 0;
    for (const iovec& part : to) {
      const size_t here = std::min(part.iov_len, count - done);
      std::memcpy(part.iov_base, host_->to_guest.data() + done, here);
      done += here;
    }
    host_->to_guest.erase(0, count);
    return count;
  }

  Result<size_t> Write(std::span<const iovec> from) override {
    if (host_->broken) return Fail(ErrorCode::kHost, "write: injected");
    if (host_->room == 0) return kWouldBlock;
    const size_t count = std::min(Length(from), host_->room);
    host_->room -= host_->room == SIZE_MAX ? 0 : count;
    size_t left = host_->keep ? count : 0;
    for (const iovec& part : from) {
      const size_t here = std::min(part.iov_len, left);
      host_->from_guest.append(static_cast<const char*>(part.iov_base), here);
      left -= here;
    }
    return count;
  }

  void ShutdownWrite() override { host_->write_shut_down = true; }
  void ShutdownRead() override { host_->read_shut_down = true; }
  void SetInterest(bool read, bool write) override {
    host_->waits_to_read = read;
    host_->waits_to_write = write;
    ++host_->interests;
  }
  void SetReady(std::function<void()> ready) override { host_->ready = std::move(ready); }

 private:
  static size_t Length(std::span<const iovec> parts) {
    size_t length = 0;
    for (const iovec& part : parts) length += part.iov_len;
    return length;
  }

  std::shared_ptr<FakeHostEnd> host_;
};

// Accepts every connection, or none.
class FakeVsockService final : public VsockService {
 public:
  Result<std::unique_ptr<VsockStream>> Accept(uint32_t host_port) override {
    if (refuse) return Fail(ErrorCode::kHost, "connect: injected");
    ports.push_back(host_port);
    hosts.push_back(std::make_shared<FakeHostEnd>());
    return std::make_unique<FakeVsockStream>(hosts.back());
  }

  bool refuse = false;
  std::vector<uint32_t> ports;
  std::vector<std::shared_ptr<FakeHostEnd>> hosts;
};

}  // namespace mayfly
