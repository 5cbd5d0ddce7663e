#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "base/check.h"
#include "devices/virtio/vsock/packet.h"
#include "devices/virtio/vsock/vsock_stream.h"

namespace mayfly {

// What all the host's ends do at the moment.
struct HostMood {
  size_t readable = 0;  // Bytes that a stream has.
  size_t takes = 0;     // Bytes that it takes.
  bool ended = false;
  bool fails = false;
  bool refuses = false;
};

class FakeHost final : public VsockService {
 public:
  class Stream final : public VsockStream {
   public:
    explicit Stream(FakeHost* host) : host_(host) { host_->streams.push_back(this); }
    ~Stream() override { std::erase(host_->streams, this); }

    Result<size_t> Read(std::span<const iovec> to) override {
      const HostMood& now = host_->mood;
      if (now.fails) return Fail(ErrorCode::kHost, "read: injected");
      if (now.ended) return 0;
      if (now.readable == 0) return kWouldBlock;
      return Move(to, now.readable,
                  [](const iovec& part, size_t count) { std::memset(part.iov_base, 0x77, count); });
    }
    Result<size_t> Write(std::span<const iovec> from) override {
      const HostMood& now = host_->mood;
      CHECK(!shut_down_);
      if (now.fails) return Fail(ErrorCode::kHost, "write: injected");
      if (now.takes == 0) return kWouldBlock;
      return Move(from, now.takes, [](const iovec&, size_t) {});
    }
    void ShutdownWrite() override { shut_down_ = true; }
    void SetInterest(bool, bool) override {}
    void SetReady(std::function<void()> ready) override { ready_ = std::move(ready); }

    // As the loop does; the device may destroy this meanwhile.
    void Ready() {
      const std::function<void()> ready = ready_;
      ready();
    }

   private:
    template <class Function>
    static size_t Move(std::span<const iovec> parts, size_t most, Function each) {
      size_t total = 0;
      size_t moved = 0;
      for (const iovec& part : parts) {
        total += part.iov_len;
        const size_t count = std::min(part.iov_len, most - moved);
        if (count > 0) each(part, count);
        moved += count;
      }
      CHECK(total > 0 && total <= vsock::kMaxPayload);
      return moved;
    }

    FakeHost* const host_;
    bool shut_down_ = false;
    std::function<void()> ready_;
  };

  Result<std::unique_ptr<VsockStream>> Accept(uint32_t) override {
    if (mood.refuses) return Fail(ErrorCode::kHost, "accept: injected");
    return std::make_unique<Stream>(this);
  }

  HostMood mood;
  std::vector<Stream*> streams;
};

}  // namespace mayfly
