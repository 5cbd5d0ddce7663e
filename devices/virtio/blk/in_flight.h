#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "devices/virtio/blk/blk_backend.h"
#include "devices/virtio/virtqueue.h"

namespace mayfly {

// A request that the backend has, and where its answer goes.
struct InFlightRequest {
  uint16_t queue;
  DescriptorChain chain;
  BlkOperation operation;
  uint64_t length;
  bool then_flush;  // Its driver counts on every write being stable.
  std::chrono::steady_clock::time_point started;
};

// What a block device has in flight. A token is a place in the table and a number that no other
// request has had, so that a completion of before a reset finds nothing.
class InFlightTable {
 public:
  // A driver may put the same chain into the ring again and again without waiting for it, so the
  // ring does not limit what it can have us remember.
  static constexpr size_t kMostRequests = 256;
  // What a reset may have to wait for.
  static constexpr uint64_t kMostBytes = 64ULL << 20;

  [[nodiscard]] bool full() const { return count_ >= kMostRequests || bytes_ >= kMostBytes; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  // Reads and writes among them.
  [[nodiscard]] size_t transfers() const { return transfers_; }

  // Not when there are kMostRequests. Returns the token.
  uint64_t Add(InFlightRequest request) {
    if (free_.empty()) {
      free_.push_back(slots_.size());
      slots_.emplace_back();
    }
    const size_t slot = free_.back();
    free_.pop_back();
    ++count_;
    bytes_ += request.length;
    if (IsTransfer(request.operation)) ++transfers_;
    slots_[slot] = Slot{next_number_++, std::move(request)};
    return slots_[slot].number * kMostRequests + slot;
  }

  // The request of a token, which is forgotten with that; nothing for a token of none.
  std::optional<InFlightRequest> Take(uint64_t token) {
    const size_t slot = token % kMostRequests;
    if (slot >= slots_.size() || slots_[slot].number != token / kMostRequests ||
        !slots_[slot].request) {
      return std::nullopt;
    }
    std::optional<InFlightRequest> request = std::move(slots_[slot].request);
    slots_[slot] = Slot{};
    free_.push_back(slot);
    --count_;
    bytes_ -= request->length;
    if (IsTransfer(request->operation)) --transfers_;
    return request;
  }

  void Clear() {
    slots_.clear();
    free_.clear();
    count_ = transfers_ = 0;
    bytes_ = 0;
  }

 private:
  struct Slot {
    uint64_t number = 0;  // 0: free.
    std::optional<InFlightRequest> request;
  };
  static bool IsTransfer(BlkOperation operation) {
    return operation == BlkOperation::kRead || operation == BlkOperation::kWrite;
  }

  std::vector<Slot> slots_;
  std::vector<size_t> free_;
  uint64_t next_number_ = 1;
  size_t count_ = 0;
  size_t transfers_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace mayfly
