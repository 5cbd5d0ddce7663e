#pragma once

#include <cstdint>
#include <vector>

namespace mayfly {

// A connection that outlives its machine: one whose host end is a service inside the VMM.
struct VsockConnectionState {
  uint32_t guest_port = 0;
  uint32_t host_port = 0;
  uint16_t owed = 0;  // A vsock::Op that the guest has not got yet; 0: none.
  bool credit_update_owed = false;
  bool credit_request_owed = false;
  bool shutdown_owed = false;
  bool host_ended = false;
  bool guest_ended = false;
  bool guest_receives_no_more = false;
  bool write_shut_down = false;
  uint32_t sent = 0;
  uint32_t peer_buf_alloc = 0;
  uint32_t peer_fwd_cnt = 0;
  uint32_t received = 0;
  uint32_t forwarded = 0;
  uint32_t announced_forwarded = 0;
  std::vector<uint8_t> kept{};  // Received and not forwarded: received - forwarded bytes.

  bool operator==(const VsockConnectionState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("guest_port", &VsockConnectionState::guest_port);
    visit("host_port", &VsockConnectionState::host_port);
    visit("owed", &VsockConnectionState::owed);
    visit("credit_update_owed", &VsockConnectionState::credit_update_owed);
    visit("credit_request_owed", &VsockConnectionState::credit_request_owed);
    visit("shutdown_owed", &VsockConnectionState::shutdown_owed);
    visit("host_ended", &VsockConnectionState::host_ended);
    visit("guest_ended", &VsockConnectionState::guest_ended);
    visit("guest_receives_no_more", &VsockConnectionState::guest_receives_no_more);
    visit("write_shut_down", &VsockConnectionState::write_shut_down);
    visit("sent", &VsockConnectionState::sent);
    visit("peer_buf_alloc", &VsockConnectionState::peer_buf_alloc);
    visit("peer_fwd_cnt", &VsockConnectionState::peer_fwd_cnt);
    visit("received", &VsockConnectionState::received);
    visit("forwarded", &VsockConnectionState::forwarded);
    visit("announced_forwarded", &VsockConnectionState::announced_forwarded);
    visit("kept", &VsockConnectionState::kept);
  }
};

// A connection that does not: its guest gets an RST when the machine begins another life.
struct VsockResetState {
  uint32_t guest_port = 0;
  uint32_t host_port = 0;

  auto operator<=>(const VsockResetState&) const = default;

  // As VsockConnectionState::Visit().
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("guest_port", &VsockResetState::guest_port);
    visit("host_port", &VsockResetState::host_port);
  }
};

struct VsockState {
  uint64_t guest_cid = 3;
  std::vector<VsockConnectionState> connections{};
  std::vector<VsockResetState> resets{};

  bool operator==(const VsockState&) const = default;

  // As VsockConnectionState::Visit(); the vectors are of such.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("guest_cid", &VsockState::guest_cid);
    visit("connections", &VsockState::connections);
    visit("resets", &VsockState::resets);
  }
};

}  // namespace mayfly
