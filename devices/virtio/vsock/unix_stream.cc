#include "devices/virtio/vsock/unix_stream.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/check.h"

namespace mayfly {
namespace {

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

msghdr MessageOf(std::span<const iovec> pieces) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  return message;
}

}  // namespace

UnixStream::~UnixStream() {
  if (closing_ == Closing::kAtOnce || loop_->IsCurrentThread()) {
    if (watch_ != 0) loop_->Remove(watch_);
    return;
  }
  // A std::function is copyable.
  loop_->Post(
      [loop = loop_, watch = watch_, socket = std::make_shared<UniqueFd>(std::move(socket_))] {
        if (watch != 0) loop->Remove(watch);
        socket->Reset();
      });
}

Result<size_t> UnixStream::Read(std::span<const iovec> to) {
  msghdr message = MessageOf(to);
  const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  if (count >= 0) return static_cast<size_t>(count);
  if (WouldBlock(errno)) return kWouldBlock;
  return FailErrno("read from a Unix socket");
}

Result<size_t> UnixStream::Write(std::span<const iovec> from) {
  const msghdr message = MessageOf(from);
  // A peer that has gone is an error here, not a signal.
  const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count >= 0) return static_cast<size_t>(count);
  if (WouldBlock(errno)) return kWouldBlock;
  return FailErrno("write to a Unix socket");
}

void UnixStream::ShutdownWrite() { ::shutdown(socket_.get(), SHUT_WR); }

// The host's writer gets EPIPE instead of a buffer that nobody empties.
void UnixStream::ShutdownRead() { ::shutdown(socket_.get(), SHUT_RD); }

void UnixStream::SetReady(std::function<void()> ready) {
  // Without interest epoll still tells of errors and hang-ups, again and again: EPOLLONESHOT keeps
  // the watch silent until SetInterest() arms it.
  const auto watch =
      loop_->Watch(socket_.get(), EPOLLONESHOT, [ready = std::move(ready)](uint32_t) { ready(); });
  watch_ = watch.value_or(0);
}

void UnixStream::SetInterest(bool read, bool write) {
  if (watch_ == 0) return;
  const uint32_t events = (read ? EPOLLIN : 0U) | (write ? EPOLLOUT : 0U);
  CHECK(loop_->Modify(watch_, events | EPOLLONESHOT));
}

}  // namespace mayfly
