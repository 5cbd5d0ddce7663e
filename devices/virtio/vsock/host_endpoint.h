#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// Where a machine's vsock meets the Unix sockets of its host. Owned by HostSockets, which calls it
// on the loop's thread, but for Connect() on the device's thread of the moment. All sockets that
// come of it are non-blocking.
class HostEndpoint {
 public:
  virtual ~HostEndpoint() = default;

  // Lets clients come.
  virtual Result<void> Listen() = 0;
  // Readable while a client waits.
  [[nodiscard]] virtual int listener() const = 0;
  // The next client; the error has the errno of accept(2).
  virtual Result<UniqueFd> Accept() = 0;
  // To whoever listens for connections of the guest's to this port.
  virtual Result<UniqueFd> Connect(uint32_t port) = 0;
};

}  // namespace mayfly
