#include "guest-init/control_channel.h"

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/file.h"

namespace mayfly::init {
namespace {

constexpr std::chrono::seconds kConnectLimit{5};
constexpr timespec kConnectPause{.tv_sec = 0, .tv_nsec = 1'000'000};

}  // namespace

Result<UniqueFd> ControlChannel::ConnectVsock() {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = control::kPort;
  const auto deadline = EventLoop::Clock::now() + kConnectLimit;
  int error = 0;
  // A driver that was just loaded may still be looking at its device.
  do {
    UniqueFd stream(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (stream.valid() && ::connect(stream.get(), reinterpret_cast<const sockaddr*>(&address),
                                    sizeof(address)) == 0) {
      return stream;
    }
    error = errno;
    ::nanosleep(&kConnectPause, nullptr);
  } while (EventLoop::Clock::now() < deadline);
  return FailErrno("connect to the host by vsock", error);
}

Result<UniqueFd> ControlChannel::OpenDevice(const std::string& path) {
  UniqueFd device = TRY(OpenFile(path, O_RDWR | O_NOCTTY));
  termios settings{};
  if (::tcgetattr(device.get(), &settings) == 0) {
    ::cfmakeraw(&settings);
    ::tcsetattr(device.get(), TCSANOW, &settings);
  }
  return device;
}

Result<std::unique_ptr<ControlChannel>> ControlChannel::Create(UniqueFd stream, EventLoop* loop) {
  const int flags = ::fcntl(stream.get(), F_GETFL);
  if (flags < 0 || ::fcntl(stream.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return FailErrno("control channel");
  }
  std::unique_ptr<ControlChannel> channel(new ControlChannel(std::move(stream), loop));
  ControlChannel* self = channel.get();
  channel->watch_ = TRY(loop->Watch(channel->stream_.get(), EPOLLIN,
                                    [self](uint32_t events) { self->OnEvents(events); }));
  return channel;
}

ControlChannel::~ControlChannel() {
  if (watch_ != 0) loop_->Remove(watch_);
}

void ControlChannel::SetCallbacks(FrameCallback on_frame, ClosedCallback on_closed) {
  on_frame_ = std::move(on_frame);
  on_closed_ = std::move(on_closed);
}

void ControlChannel::Send(control::FrameType type, uint64_t invocation,
                          std::span<const uint8_t> payload) {
  if (closed_) return;
  queue_.push_back({type, invocation, {payload.begin(), payload.end()}});
  queued_ += payload.size();
  WriteSome();
}

void ControlChannel::SendChunks(uint64_t invocation, std::vector<uint8_t> bytes) {
  if (closed_ || bytes.empty()) return;
  queued_ += bytes.size();
  queue_.push_back({control::FrameType::kChunk, invocation, std::move(bytes)});
  WriteSome();
}

void ControlChannel::OnEvents(uint32_t events) {
  if ((events & EPOLLOUT) != 0) WriteSome();
  if (!closed_ && (events & ~uint32_t{EPOLLOUT}) != 0) ReadSome();
}

void ControlChannel::ReadSome() {
  std::array<uint8_t, size_t{64} * 1024> buffer;
  const ssize_t count = ::read(stream_.get(), buffer.data(), buffer.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return Close(Error::FromErrno("control channel"));
  if (count == 0) return Close(Error(ErrorCode::kHost, "the host closed the control channel"));
  reader_.Append(std::span(buffer).first(static_cast<size_t>(count)));
  while (!closed_) {
    Result<std::optional<control::Frame>> next = reader_.Next();
    if (!next) return Close(next.error());
    if (!*next) return;
    on_frame_(std::move(**next));
  }
}

bool ControlChannel::NextFrame() {
  if (queue_.empty()) return false;
  Item& item = queue_.front();
  const size_t size = std::min<size_t>(item.bytes.size() - item.sent, control::kMaxPayload);
  current_ =
      control::Encode(item.type, item.invocation, std::span(item.bytes).subspan(item.sent, size));
  current_sent_ = 0;
  item.sent += size;
  queued_ -= size;
  if (item.sent == item.bytes.size()) queue_.pop_front();
  return true;
}

void ControlChannel::WriteSome() {
  bool wrote = false;
  while (!closed_ && (!current_.empty() || NextFrame())) {
    const ssize_t count =
        ::write(stream_.get(), current_.data() + current_sent_, current_.size() - current_sent_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) return Close(Error::FromErrno("control channel"));
    wrote = true;
    current_sent_ += static_cast<size_t>(count);
    if (current_sent_ == current_.size()) current_.clear();
  }
  if (closed_) return;
  if (wants_output_ != !current_.empty()) {
    wants_output_ = !wants_output_;
    CHECK(loop_->Modify(watch_, EPOLLIN | (wants_output_ ? uint32_t{EPOLLOUT} : 0u)));
  }
  if (wrote && current_.empty() && on_drained_) on_drained_();
}

bool ControlChannel::Flush(std::chrono::milliseconds limit) {
  const auto deadline = EventLoop::Clock::now() + limit;
  WriteSome();
  while (!closed_ && !current_.empty() && EventLoop::Clock::now() < deadline) {
    pollfd descriptor{stream_.get(), POLLOUT, 0};
    ::poll(&descriptor, 1, 10);
    WriteSome();
  }
  return !closed_ && current_.empty();
}

void ControlChannel::Close(const Error& why) {
  closed_ = true;
  loop_->Remove(watch_);
  watch_ = 0;
  queue_.clear();
  current_.clear();
  queued_ = 0;
  if (on_closed_) on_closed_(why);
}

}  // namespace mayfly::init
