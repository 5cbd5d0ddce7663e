#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "devices/virtio/net/net_abi.h"
#include "devices/virtio/net/net_backend.h"

namespace mayfly {

// The other end of the wire, in memory. Tests set what fails, and count what was asked of it.
class FakeNetBackend final : public NetBackend {
 public:
  void SetReady(std::function<void()> ready) override { ready_ = std::move(ready); }
  Result<size_t> Read(std::span<const iovec> to) override {
    ++reads;
    if (fail_read) return Fail(ErrorCode::kHost, "read: injected");
    if (waiting.empty()) return size_t{0};
    std::span<const uint8_t> rest = waiting.front();
    const size_t length = rest.size();
    for (const iovec& part : to) {
      const size_t count = std::min(part.iov_len, rest.size());
      if (count > 0) std::memcpy(part.iov_base, rest.data(), count);
      rest = rest.subspan(count);
    }
    waiting.pop_front();
    return length;
  }
  Result<void> Write(std::span<const iovec> frame) override {
    ++writes;
    if (fail_write) return Fail(ErrorCode::kHost, "write: injected");
    std::vector<uint8_t> bytes;
    for (const iovec& part : frame) {
      const auto* from = static_cast<const uint8_t*>(part.iov_base);
      bytes.insert(bytes.end(), from, from + part.iov_len);
    }
    sent.push_back(std::move(bytes));
    return {};
  }
  Result<void> SetOffloads(const NetOffloads& wanted) override {
    if (fail_offloads) return Fail(ErrorCode::kHost, "offloads: injected");
    offloads = wanted;
    return {};
  }
  Result<void> SetCarrier(bool up) override {
    carrier = up;
    return {};
  }

  // A frame comes in, and the device hears of it.
  void Arrive(const net::Header& header, std::span<const uint8_t> frame) {
    std::vector<uint8_t> bytes(sizeof(header) + frame.size());
    StoreLe(bytes, header);
    std::ranges::copy(frame, bytes.begin() + sizeof(header));
    waiting.push_back(std::move(bytes));
    Announce();
  }
  void Arrive(std::span<const uint8_t> frame) { Arrive(net::Header{}, frame); }
  void Announce() {
    if (ready_) ready_();
  }

  std::deque<std::vector<uint8_t>> waiting;
  std::vector<std::vector<uint8_t>> sent;
  NetOffloads offloads;
  bool carrier = true;
  bool fail_read = false;
  bool fail_write = false;
  bool fail_offloads = false;
  int reads = 0;
  int writes = 0;

 private:
  std::function<void()> ready_;
};

}  // namespace mayfly
