#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace mayfly {

// The host's end of what a Linux guest does with vsock (tests/guest/programs/vsock_peer.c).

UniqueFd ListenOnUnixSocket(const std::string& path);
// Connects to `port` of the guest by the machine's socket at `path`.
UniqueFd ConnectToGuestPort(const std::string& path, const std::string& port);
void SendAll(const UniqueFd& socket, const void* bytes, size_t size);

// Serves the guest's `vsock_peer stream`: receives what it sends until it half-closes, then sends
// `mebibytes`.
struct StreamServed {
  uint64_t chunks = 0;  // Received.
  int64_t receive_ms = 0;
  std::string guests_line;  // What the guest prints if every byte arrived, both ways.
};
StreamServed ServeStream(const UniqueFd& listener, uint64_t mebibytes);

}  // namespace mayfly
