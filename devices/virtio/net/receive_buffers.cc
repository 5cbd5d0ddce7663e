#include "devices/virtio/net/receive_buffers.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mayfly {
namespace {

constexpr size_t kHeaderSize = sizeof(net::Header);

// Chains can share descriptors, so that there may be far more buffers in all than descriptors in
// the queue: 65,536 where a system call takes 1024 iovecs. A chain has 256 of them at most.
constexpr size_t kMostDescriptors = 512;

}  // namespace

ReceiveBuffers::ReceiveBuffers(Virtqueue queue, bool mergeable)
    : queue_(std::move(queue)),
      mergeable_(mergeable),
      overflow_(std::make_unique_for_overwrite<uint8_t[]>(net::kMostFrameBytes)) {}

bool ReceiveBuffers::TakeBuffer() {
  if (descriptor_count_ >= kMostDescriptors) return false;
  // Bounded: a buffer of no use goes back, and another vCPU may offer it again at once.
  for (uint32_t i = 0; i <= queue_.Save().size; ++i) {
    std::optional<DescriptorChain> chain = queue_.Pop();
    if (!chain) return false;
    if (chain->writable_size() <= kHeaderSize) {
      queue_.Complete(*std::move(chain), 0);
      continue;
    }
    capacity_ += chain->writable_size();
    descriptor_count_ += chain->writable().size();
    if (std::exchange(iovecs_complete_, false)) iovecs_.pop_back();
    for (const GuestBuffer& part : chain->writable()) {
      iovecs_.push_back(queue_.memory().Iovec(part.address, part.length));
    }
    buffers_.push_back(*std::move(chain));
    return true;
  }
  queue_.ProcessLater();
  return false;
}

DescriptorChain ReceiveBuffers::PopBuffer() {
  DescriptorChain buffer = std::move(buffers_.front());
  buffers_.pop_front();
  capacity_ -= buffer.writable_size();
  descriptor_count_ -= buffer.writable().size();
  if (std::exchange(iovecs_complete_, false)) iovecs_.pop_back();
  first_iovec_ += buffer.writable().size();
  header_has_place_ = false;
  if (first_iovec_ > kMostDescriptors) {
    iovecs_.erase(iovecs_.begin(), iovecs_.begin() + static_cast<ptrdiff_t>(first_iovec_ - 1));
    first_iovec_ = 1;
  }
  return buffer;
}

bool ReceiveBuffers::Prepare() {
  const size_t wanted = mergeable_ ? net::kMostFrameBytes : 1;
  while (capacity_ < wanted && TakeBuffer()) {
  }
  if (buffers_.empty()) return false;
  if (!iovecs_complete_) CompleteIovecs();
  return true;
}

void ReceiveBuffers::CompleteIovecs() {
  iovecs_[first_iovec_ - 1] = {&header_, kHeaderSize};
  size_t skip = std::exchange(header_has_place_, true) ? 0 : kHeaderSize;
  for (size_t i = first_iovec_; skip > 0; ++i) {
    iovec& part = iovecs_[i];
    const size_t count = std::min(skip, part.iov_len);
    part = {static_cast<uint8_t*>(part.iov_base) + count, part.iov_len - count};
    skip -= count;
  }
  iovecs_.push_back({overflow_.get(), net::kMostFrameBytes});
  iovecs_complete_ = true;
}

void ReceiveBuffers::SetFrame(size_t length) {
  CHECK(length <= net::kMostFrameBytes);
  frame_length_ = length;
  frame_capacity_ = capacity_;
}

ReceiveBuffers::Fit ReceiveBuffers::MakeRoom() {
  if (!mergeable_ && frame_length_ > capacity_) {
    // Returned empty: else it would stand in the way of every long frame.
    queue_.Complete(PopBuffer(), 0);
    return Fit::kNever;
  }
  while (capacity_ < frame_length_) {
    if (TakeBuffer()) continue;
    const bool all_taken =
        buffers_.size() >= queue_.Save().size || descriptor_count_ >= kMostDescriptors;
    return all_taken ? Fit::kNever : Fit::kNotYet;
  }
  return Fit::kYes;
}

void ReceiveBuffers::Deliver() {
  const GuestMemory& memory = queue_.memory();
  // What did not fit at first, behind what did.
  const std::span<const uint8_t> rest(overflow_.get(),
                                      frame_length_ - std::min(frame_length_, frame_capacity_));
  size_t done = 0;
  while (done < frame_length_) {
    DescriptorChain buffer = PopBuffer();
    const size_t part = std::min<size_t>(buffer.writable_size(), frame_length_ - done);
    if (done >= frame_capacity_) {
      buffer.CopyTo(memory, 0, rest.subspan(done - frame_capacity_, part));
    }
    used_.push_back({std::move(buffer), static_cast<uint32_t>(part)});
    done += part;
  }
  header_.num_buffers = static_cast<uint16_t>(used_.size());
  used_.front().chain.CopyTo(memory, 0, BytesOf(header_));
  queue_.CompleteTogether(used_);
  used_.clear();
  frame_length_ = 0;
}

VirtqueueState ReceiveBuffers::SaveQueue() const {
  VirtqueueState state = queue_.Save();
  state.next_avail = static_cast<uint16_t>(state.next_avail - buffers_.size());
  return state;
}

}  // namespace mayfly
