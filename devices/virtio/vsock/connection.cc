#include "devices/virtio/vsock/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace mayfly {
namespace {

using vsock::Op;
using vsock::PacketHeader;

}  // namespace

Result<std::unique_ptr<VsockConnection>> VsockConnection::Restore(
    const VsockConnectionState& state, std::unique_ptr<VsockStream> stream) {
  const auto owed = static_cast<Op>(state.owed);
  if (owed != Op::kInvalid && owed != Op::kResponse) {
    return Fail(ErrorCode::kCorrupt, fmt::format("owed: {} is nothing to owe", state.owed));
  }
  if (state.kept.size() > kBufferSize || state.received - state.forwarded != state.kept.size()) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("kept: {} bytes, where {} were received and {} forwarded",
                            state.kept.size(), state.received, state.forwarded));
  }
  auto connection = std::make_unique<VsockConnection>(state.guest_port, state.host_port,
                                                      State::kEstablished, std::move(stream));
  connection->owed_ = owed;
  connection->credit_update_owed_ = state.credit_update_owed;
  connection->credit_request_owed_ = state.credit_request_owed;
  connection->shutdown_owed_ = state.shutdown_owed;
  connection->host_ended_ = state.host_ended;
  connection->guest_ended_ = state.guest_ended;
  connection->guest_receives_no_more_ = state.guest_receives_no_more;
  connection->write_shut_down_ = state.write_shut_down;
  connection->sent_ = state.sent;
  connection->peer_buf_alloc_ = state.peer_buf_alloc;
  connection->peer_fwd_cnt_ = state.peer_fwd_cnt;
  connection->received_ = state.received;
  connection->forwarded_ = state.forwarded;
  connection->announced_forwarded_ = state.announced_forwarded;
  connection->kept_ = state.kept;
  return connection;
}

VsockConnectionState VsockConnection::Save() const {
  VsockConnectionState state;
  state.guest_port = guest_port_;
  state.host_port = host_port_;
  state.owed = static_cast<uint16_t>(owed_);
  state.credit_update_owed = credit_update_owed_;
  state.credit_request_owed = credit_request_owed_;
  state.shutdown_owed = shutdown_owed_;
  state.host_ended = host_ended_;
  state.guest_ended = guest_ended_;
  state.guest_receives_no_more = guest_receives_no_more_;
  state.write_shut_down = write_shut_down_;
  state.sent = sent_;
  state.peer_buf_alloc = peer_buf_alloc_;
  state.peer_fwd_cnt = peer_fwd_cnt_;
  state.received = received_;
  state.forwarded = forwarded_;
  state.announced_forwarded = announced_forwarded_;
  state.kept = kept_;
  return state;
}

void VsockConnection::UpdateCredit(const PacketHeader& header) {
  peer_buf_alloc_ = header.buf_alloc;
  peer_fwd_cnt_ = header.fwd_cnt;
}

bool VsockConnection::HandlePacket(const PacketHeader& header, const DescriptorChain& chain,
                                   const GuestMemory& memory) {
  UpdateCredit(header);
  switch (static_cast<Op>(header.op)) {
    case Op::kResponse:
      if (state_ != State::kConnecting || owed_ != Op::kInvalid) return false;
      state_ = State::kEstablished;
      return true;
    case Op::kRw:
      return HandlePayload(header.len, chain, memory);
    case Op::kShutdown:
      if (state_ != State::kEstablished) return false;
      if ((header.flags & vsock::kShutdownSend) != 0) guest_ended_ = true;
      if ((header.flags & vsock::kShutdownReceive) != 0 && !guest_receives_no_more_) {
        guest_receives_no_more_ = true;
        stream_->ShutdownRead();
      }
      return Flush();
    case Op::kCreditUpdate:
      return true;
    case Op::kCreditRequest:
      credit_update_owed_ = true;
      return true;
    default:
      return false;
  }
}

bool VsockConnection::HandlePayload(uint32_t length, const DescriptorChain& chain,
                                    const GuestMemory& memory) {
  if (state_ != State::kEstablished || guest_ended_) return false;
  if (length > kBufferSize - (received_ - forwarded_)) return false;
  received_ += length;
  uint32_t written = 0;
  if (kept_.empty() && length > 0) {
    const std::vector<iovec> from = chain.ReadableIovecs(memory, sizeof(PacketHeader), length);
    const Result<size_t> taken = stream_->Write(from);
    if (!taken) return false;
    if (*taken != VsockStream::kWouldBlock) written = static_cast<uint32_t>(*taken);
    forwarded_ += written;
  }
  if (written < length) {
    const size_t old_size = kept_.size();
    // All at once: a vector that grows by doubling would take up to twice the cap.
    kept_.reserve(kBufferSize);
    kept_.resize(old_size + length - written);
    const auto rest = std::span(kept_).subspan(old_size);
    // Nothing goes to the host in the place of what is lost.
    if (chain.CopyFrom(memory, sizeof(PacketHeader) + written, rest) != rest.size()) {
      kept_.clear();
      return false;
    }
  }
  return true;
}

bool VsockConnection::Flush() {
  while (!kept_.empty()) {
    const iovec from{kept_.data(), kept_.size()};
    const Result<size_t> taken = stream_->Write({&from, 1});
    if (!taken) return false;
    if (*taken == VsockStream::kWouldBlock) return true;
    forwarded_ += static_cast<uint32_t>(*taken);
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<ptrdiff_t>(*taken));
    if (kept_.empty()) kept_ = {};
  }
  if (guest_ended_ && !write_shut_down_) {
    stream_->ShutdownWrite();
    write_shut_down_ = true;
  }
  return true;
}

bool VsockConnection::finished() const {
  const bool host_to_guest_ended = guest_receives_no_more_ || (host_ended_ && !shutdown_owed_);
  return guest_ended_ && write_shut_down_ && host_to_guest_ended;
}

uint32_t VsockConnection::peer_credit() const {
  const uint32_t in_flight = sent_ - peer_fwd_cnt_;
  return in_flight < peer_buf_alloc_ ? peer_buf_alloc_ - in_flight : 0;
}

bool VsockConnection::can_read_host() const {
  return state_ == State::kEstablished && !host_ended_ && !guest_receives_no_more_;
}

bool VsockConnection::credit_update_due() const {
  const uint32_t believed_used = received_ - announced_forwarded_;
  return believed_used > kBufferSize / 2 && forwarded_ != announced_forwarded_;
}

bool VsockConnection::wants_to_send() const {
  return owed_ != Op::kInvalid || credit_update_owed_ || credit_request_owed_ || shutdown_owed_ ||
         credit_update_due() || (can_read_host() && host_may_have_data_ && peer_credit() > 0);
}

void VsockConnection::UpdateInterest() {
  const bool read = can_read_host() && !host_may_have_data_;
  const bool write = !kept_.empty();
  if (read == armed_read_ && write == armed_write_) return;
  armed_read_ = read;
  armed_write_ = write;
  stream_->SetInterest(read, write);
}

void VsockConnection::StampCredit(PacketHeader& header) {
  header.buf_alloc = kBufferSize;
  header.fwd_cnt = forwarded_;
  announced_forwarded_ = forwarded_;
  credit_update_owed_ = false;
}

uint32_t VsockConnection::FillControl(PacketHeader header, Op op, uint32_t flags,
                                      const DescriptorChain& chain, const GuestMemory& memory) {
  StampCredit(header);
  header.op = static_cast<uint16_t>(op);
  header.flags = flags;
  chain.CopyTo(memory, 0, BytesOf(header));
  return sizeof(header);
}

Result<uint32_t> VsockConnection::FillPacket(PacketHeader header, const DescriptorChain& chain,
                                             const GuestMemory& memory) {
  if (owed_ != Op::kInvalid) {
    return FillControl(header, std::exchange(owed_, Op::kInvalid), 0, chain, memory);
  }
  if (can_read_host() && host_may_have_data_ && peer_credit() > 0) {
    const uint32_t length = TRY(FillPayload(header, chain, memory));
    if (length > 0) return length;
  }
  if (shutdown_owed_) {
    shutdown_owed_ = false;
    return FillControl(header, Op::kShutdown, vsock::kShutdownSend, chain, memory);
  }
  if (credit_request_owed_) {
    credit_request_owed_ = false;
    return FillControl(header, Op::kCreditRequest, 0, chain, memory);
  }
  if (credit_update_owed_ || credit_update_due()) {
    return FillControl(header, Op::kCreditUpdate, 0, chain, memory);
  }
  return 0;
}

Result<uint32_t> VsockConnection::FillPayload(PacketHeader header, const DescriptorChain& chain,
                                              const GuestMemory& memory) {
  const uint32_t room = chain.writable_size() - static_cast<uint32_t>(sizeof(header));
  const uint32_t most = std::min({room, peer_credit(), vsock::kMaxPayload});
  if (most == 0) return 0;
  const std::vector<iovec> to = chain.WritableIovecs(memory, sizeof(header), most);
  const size_t count = TRY(stream_->Read(to));
  if (count == VsockStream::kWouldBlock) {
    host_may_have_data_ = false;
    return 0;
  }
  if (count == 0) {
    host_ended_ = true;
    shutdown_owed_ = true;
    return 0;
  }
  CHECK(count <= most);
  const auto length = static_cast<uint32_t>(count);
  sent_ += length;
  // A guest that is out of room is asked to say when that changes, in case its update got lost in
  // a full queue.
  if (peer_credit() == 0) credit_request_owed_ = true;
  StampCredit(header);
  header.op = static_cast<uint16_t>(Op::kRw);
  header.len = length;
  chain.CopyTo(memory, 0, BytesOf(header));
  return static_cast<uint32_t>(sizeof(header)) + length;
}

}  // namespace mayfly
