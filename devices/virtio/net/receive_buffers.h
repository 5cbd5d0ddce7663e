#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "devices/virtio/net/net_abi.h"
#include "devices/virtio/virtqueue.h"

namespace mayfly {

// The receive queue's buffers, and the one frame that is on its way into them. A frame is read
// before anybody knows how long it is, so iovecs() ends with room of our own: a frame that reaches
// into it waits there until the driver has given more buffers. Not synchronised: it belongs to its
// NetDevice, which exists as long as it.
//
//   iovecs(): [ header_ ][ buffer 0, from its 13th byte ][ buffer 1 ] ... [ overflow_ ]
class ReceiveBuffers {
 public:
  // A frame is spread over several buffers if `mergeable`, else it takes one.
  ReceiveBuffers(Virtqueue queue, bool mergeable);
  ReceiveBuffers(const ReceiveBuffers&) = delete;
  ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;

  // Takes what is there for a frame of any length. False if there is nothing: the driver has been
  // asked to kick.
  bool Prepare();
  // Where to put a frame with its header; after Prepare() only.
  [[nodiscard]] std::span<const iovec> iovecs() const {
    return std::span(iovecs_).subspan(first_iovec_ - 1);
  }
  // A frame came, of so many bytes with its header: its header may be looked at, and changed.
  void SetFrame(size_t length);
  void DropFrame() { frame_length_ = 0; }
  [[nodiscard]] size_t frame_length() const { return frame_length_; }  // 0: there is none.
  [[nodiscard]] net::Header& header() { return header_; }

  enum class Fit { kYes, kNotYet, kNever };
  // Whether the buffers hold the frame, after taking more if there are any. kNever gives back a
  // buffer in which it should have had its place.
  Fit MakeRoom();
  // Gives the frame, for which MakeRoom() said kYes, to the driver.
  void Deliver();

  // Tells the driver of all that was delivered.
  void Notify() { queue_.Notify(); }
  void ProcessLater() { queue_.ProcessLater(); }
  // As if no buffer had been taken that was not used: the frame on its way is lost.
  [[nodiscard]] VirtqueueState SaveQueue() const;

 private:
  // Takes one more buffer; false if there is none, or there are as many as can be.
  bool TakeBuffer();
  // Takes the first one out of buffers_.
  DescriptorChain PopBuffer();
  // Puts what is not the guest's around its buffers: our header, in front, and overflow_.
  void CompleteIovecs();

  Virtqueue queue_;
  const bool mergeable_;
  std::deque<DescriptorChain> buffers_;
  std::vector<UsedChain> used_;  // Of one Deliver(), kept for its memory.
  size_t capacity_ = 0;          // Of buffers_, the header's place included.
  size_t descriptor_count_ = 0;  // In buffers_.
  size_t frame_length_ = 0;
  size_t frame_capacity_ = 0;  // What capacity_ was when the frame was read.
  net::Header header_{};
  const std::unique_ptr<uint8_t[]> overflow_;
  // Where buffers_ are in the host's memory, from first_iovec_ on; what is in front of that was
  // used, and the last of it is the place of our header. Kept from frame to frame, because a short
  // one changes few of them.
  std::vector<iovec> iovecs_ = std::vector<iovec>(1);
  size_t first_iovec_ = 1;
  bool iovecs_complete_ = false;   // overflow_ is the last.
  bool header_has_place_ = false;  // The first buffer's header is not among them any more.
};

}  // namespace mayfly
