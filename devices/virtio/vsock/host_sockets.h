#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "devices/virtio/vsock/port_range.h"
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
  static constexpr int kListenBacklog = 128;
  // Without descriptors or memory for a client, the next try; the listener would stay readable.
  static constexpr std::chrono::milliseconds kAcceptPause{100};

  // Listens on `path`. A socket that nobody listens on any more is replaced; kInvalidArgument if
  // the path is longer than a Unix socket address takes (with "_" and a port), or something else is
  // there. Pointers are borrowed; `log` may be null.
  static Result<std::unique_ptr<HostSockets>> Create(const std::string& path, PortPolicy policy,
                                                     EventLoop* loop, LogSink* log);
  HostSockets(const HostSockets&) = delete;
  HostSockets& operator=(const HostSockets&) = delete;
  // Removes the socket from the file system, if it is still this one.
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

  HostSockets(std::string path, PortPolicy policy, UniqueFd listener, EventLoop* loop, LogSink* log)
      : path_(std::move(path)),
        policy_(std::move(policy)),
        listener_(std::move(listener)),
        loop_(loop),
        log_(log, "vsock socket") {}

  void AcceptClient();
  void PauseAccepting();
  // The listener is watched unless there are too many clients, or accepting is paused.
  void UpdateListener();
  void ReadRequest(uint64_t id);
  void HandOver(uint64_t id, uint32_t guest_port);
  void Drop(uint64_t id);

  const std::string path_;
  const PortPolicy policy_;
  UniqueFd listener_;
  uint64_t device_ = 0;  // st_dev and st_ino of the socket in the file system.
  uint64_t inode_ = 0;
  EventLoop* const loop_;
  GuestLog log_;
  VsockDevice* vsock_ = nullptr;
  EventLoop::WatchId watch_ = 0;
  // The loop's thread only.
  EventLoop::TimerId pause_ = 0;  // 0: not paused.
  uint64_t next_client_ = 1;
  std::map<uint64_t, Client> clients_;
};

}  // namespace mayfly
