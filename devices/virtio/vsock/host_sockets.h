#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "devices/virtio/vsock/host_endpoint.h"
#include "devices/virtio/vsock/port_range.h"
#include "devices/virtio/vsock/unix_stream.h"
#include "devices/virtio/vsock/vsock.h"

namespace mayfly {

// The host's side of vsock as Unix sockets. Who wants to reach port N of the guest connects to
// PATH, writes "CONNECT N\n", and reads "OK M\n" (M is the port on the host) once the guest has
// accepted; the connection is closed if it refuses. What the guest connects to on port N of the
// host is the Unix socket PATH_N, if N is among the ports that the guest may connect to. The
// clients of PATH are handled on the loop's thread.
class HostSockets final : public VsockService {
 public:
  // "CONNECT 4294967295\n", and some. A client that sends more without a newline is dropped.
  static constexpr size_t kMaxRequest = 32;
  // Clients that have not said yet what they want; more are left in the listen queue.
  static constexpr size_t kMaxPending = 64;
  static constexpr std::chrono::seconds kRequestTimeout{2};
  // Without descriptors or memory for a client, the next try; the listener would stay readable.
  static constexpr std::chrono::milliseconds kAcceptPause{100};

  // Pointers are borrowed; `log` may be null. If `filtered`, vCPUs call nothing that closes a
  // socket: the loop does it for them.
  HostSockets(std::unique_ptr<HostEndpoint> endpoint, PortPolicy policy, EventLoop* loop,
              bool filtered, LogSink* log);
  HostSockets(const HostSockets&) = delete;
  HostSockets& operator=(const HostSockets&) = delete;
  ~HostSockets() override;

  // The device that connections go to, borrowed. Once, before the machine runs; nothing is accepted
  // before.
  Result<void> Serve(VsockDevice* device);

  // The guest connects to a port of the host.
  Result<std::unique_ptr<VsockStream>> Accept(uint32_t host_port) override;

 private:
  struct Client {
    UniqueFd socket;
    std::string request;
    EventLoop::WatchId watch = 0;
    EventLoop::TimerId timer = 0;
  };

  void AcceptClient();
  void PauseAccepting(const Error& reason);
  // The listener is watched unless there are too many clients, or accepting is paused.
  void UpdateListener();
  void ReadRequest(uint64_t id);
  void HandOver(uint64_t id, uint32_t guest_port);
  void Drop(uint64_t id);

  const std::unique_ptr<HostEndpoint> endpoint_;
  const PortPolicy policy_;
  EventLoop* const loop_;
  const UnixStream::Closing closing_;
  GuestLog log_;
  VsockDevice* vsock_ = nullptr;
  EventLoop::WatchId watch_ = 0;
  // The loop's thread only.
  EventLoop::TimerId pause_ = 0;  // 0: not paused.
  uint64_t next_client_ = 1;
  std::map<uint64_t, Client> clients_;
};

}  // namespace mayfly
