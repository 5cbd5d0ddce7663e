#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/virtio/virtqueue.h"
#include "devices/virtio/vsock/packet.h"
#include "devices/virtio/vsock/vsock_state.h"
#include "devices/virtio/vsock/vsock_stream.h"

namespace mayfly {

// One vsock connection: its host stream, credit in both directions, and what the guest is owed.
// Owned by VsockDevice, which calls it with its mutex held.
//
//   host connects:   kConnecting --RESPONSE--> kEstablished --> (both directions ended) --> gone
//   guest connects:                kEstablished -->
//
// Each direction ends by itself (SHUTDOWN); RST ends both at once.
class VsockConnection {
 public:
  // What is kept of the guest's bytes while the host does not take them, and so the credit that is
  // given: a guest that sends more than it was told it may is reset. With VsockDevice's limit on
  // connections this bounds what guests can make the host hold.
  static constexpr uint32_t kBufferSize = 64 * 1024;

  enum class State { kConnecting, kEstablished };

  VsockConnection(uint32_t guest_port, uint32_t host_port, State state,
                  std::unique_ptr<VsockStream> stream)
      : guest_port_(guest_port), host_port_(host_port), state_(state), stream_(std::move(stream)) {
    owed_ = state == State::kConnecting ? vsock::Op::kRequest : vsock::Op::kResponse;
  }

  // An established one as Save() left it, over a new stream. kCorrupt, naming the field, if there
  // is no such connection.
  static Result<std::unique_ptr<VsockConnection>> Restore(const VsockConnectionState& state,
                                                          std::unique_ptr<VsockStream> stream);
  [[nodiscard]] VsockConnectionState Save() const;

  [[nodiscard]] uint32_t guest_port() const { return guest_port_; }
  [[nodiscard]] uint32_t host_port() const { return host_port_; }
  [[nodiscard]] State state() const { return state_; }
  // False as long as the guest has not got the host's REQUEST.
  [[nodiscard]] bool known_to_guest() const { return owed_ != vsock::Op::kRequest; }
  [[nodiscard]] VsockStream& stream() { return *stream_; }

  // What every packet of the guest's says of its room.
  void UpdateCredit(const vsock::PacketHeader& header);
  // Takes a packet of the guest's; the payload is in `chain` behind the header. False if the
  // connection is to be reset: a broken rule, or a host that is gone.
  bool HandlePacket(const vsock::PacketHeader& header, const DescriptorChain& chain,
                    const GuestMemory& memory);
  // Gives the host what was kept for it. False as above.
  bool Flush();
  // Both directions have ended and nothing is left to deliver: the guest gets its RST.
  [[nodiscard]] bool finished() const;

  // Whether FillPacket() may have something for the guest.
  [[nodiscard]] bool wants_to_send() const;
  // Puts the next packet into the chain: its header, and payload from the host. Returns the
  // packet's length; 0 if there was nothing, and the chain is as it was; an error if the host is
  // gone.
  Result<uint32_t> FillPacket(vsock::PacketHeader header, const DescriptorChain& chain,
                              const GuestMemory& memory);

  // The host's stream may have become readable or writable.
  void HostReady() {
    host_may_have_data_ = true;
    armed_read_ = armed_write_ = false;
  }
  // Tells the stream what is waited for, if that is new or was answered. What the other side holds
  // up is not waited for: a stream that is ready all the time would keep the loop busy.
  void UpdateInterest();

 private:
  bool HandlePayload(uint32_t length, const DescriptorChain& chain, const GuestMemory& memory);
  Result<uint32_t> FillPayload(vsock::PacketHeader header, const DescriptorChain& chain,
                               const GuestMemory& memory);
  uint32_t FillControl(vsock::PacketHeader header, vsock::Op op, uint32_t flags,
                       const DescriptorChain& chain, const GuestMemory& memory);
  void StampCredit(vsock::PacketHeader& header);
  // Bytes that the guest has promised to have room for.
  [[nodiscard]] uint32_t peer_credit() const;
  [[nodiscard]] bool can_read_host() const;
  // The guest believes that less than half of our buffer is free, and more is.
  [[nodiscard]] bool credit_update_due() const;

  const uint32_t guest_port_;
  const uint32_t host_port_;
  State state_;
  std::unique_ptr<VsockStream> stream_;

  // A REQUEST or RESPONSE that the guest has not got yet; kInvalid: none.
  vsock::Op owed_ = vsock::Op::kInvalid;
  bool credit_update_owed_ = false;
  bool credit_request_owed_ = false;
  bool shutdown_owed_ = false;
  bool host_may_have_data_ = true;
  bool armed_read_ = false;  // What the stream was last told.
  bool armed_write_ = false;

  bool host_ended_ = false;   // The host sends no more.
  bool guest_ended_ = false;  // The guest sends no more.
  bool guest_receives_no_more_ = false;
  bool write_shut_down_ = false;  // The host was told that the guest has ended.

  // Counters wrap at 2^32 (5.10.6.3). To the guest:
  uint32_t sent_ = 0;
  uint32_t peer_buf_alloc_ = 0;
  uint32_t peer_fwd_cnt_ = 0;
  // From the guest:
  uint32_t received_ = 0;
  uint32_t forwarded_ = 0;
  uint32_t announced_forwarded_ = 0;
  // Received and not forwarded; at most kBufferSize, and no memory while it is empty.
  std::vector<uint8_t> kept_;
};

}  // namespace mayfly
