#pragma once

#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "devices/virtio/vsock/vsock_stream.h"

namespace mayfly {

// The host's end of a vsock connection on a Unix stream socket.
class UnixStream final : public VsockStream {
 public:
  // Where the socket is closed, whoever has done with the stream.
  enum class Closing : uint8_t { kAtOnce, kOnLoop };

  // `loop` is borrowed.
  UnixStream(UniqueFd socket, EventLoop* loop, Closing closing)
      : socket_(std::move(socket)), loop_(loop), closing_(closing) {}
  UnixStream(const UnixStream&) = delete;
  UnixStream& operator=(const UnixStream&) = delete;
  ~UnixStream() override;

  Result<size_t> Read(std::span<const iovec> to) override;
  Result<size_t> Write(std::span<const iovec> from) override;
  void ShutdownWrite() override;
  void ShutdownRead() override;
  void SetInterest(bool read, bool write) override;
  void SetReady(std::function<void()> ready) override;

 private:
  UniqueFd socket_;
  EventLoop* const loop_;
  const Closing closing_;
  EventLoop::WatchId watch_ = 0;
};

}  // namespace mayfly
