#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"

namespace mayfly {

// The host's end of one vsock connection: a Unix socket, or a service inside the VMM. Owned by the
// connection; every call is made with the vsock device's mutex held, so an implementation never
// calls back into the device from inside one.
class VsockStream {
 public:
  virtual ~VsockStream() = default;

  // Moves up to the iovecs' length from the host to the guest. 0 means the host has ended its
  // direction; kWouldBlock that there is nothing now.
  static constexpr size_t kWouldBlock = SIZE_MAX;
  virtual Result<size_t> Read(std::span<const iovec> to) = 0;
  // Moves up to the iovecs' length from the guest to the host; kWouldBlock if the host takes
  // nothing now.
  virtual Result<size_t> Write(std::span<const iovec> from) = 0;
  // The guest has ended its direction.
  virtual void ShutdownWrite() = 0;
  // The guest takes nothing any more; the device does not call Read() again.
  virtual void ShutdownRead() {}
  // Whether the device waits to be able to read, or to write. Once that is possible, the stream
  // calls what it was given with SetReady(), on any thread, but not from inside a call of its own;
  // after that it may stay silent until the next SetInterest().
  virtual void SetInterest(bool read, bool write) = 0;
  virtual void SetReady(std::function<void()> ready) = 0;
};

// Where a guest's connection to a port of the host leads to.
class VsockService {
 public:
  virtual ~VsockService() = default;
  // An error refuses the connection. Called with the vsock device's mutex held.
  virtual Result<std::unique_ptr<VsockStream>> Accept(uint32_t host_port) = 0;
};

}  // namespace mayfly
