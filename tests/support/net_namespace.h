#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace mayfly {

// Runs `body` on a thread in a network namespace of its own, which is gone with all its interfaces
// afterwards. Programs and threads that `body` starts are in it too. False, without having run it,
// where that is not allowed: the test needs root then.
bool InNetNamespace(const std::function<void()>& body);

// For the thread's namespace: ip(8) with these arguments, separated by spaces; true if it
// succeeded.
bool Ip(std::string_view arguments);

// A packet socket on an interface: sees all of its frames, as they leave the host's stack or come
// into it.
class PacketSocket {
 public:
  explicit PacketSocket(const std::string& interface);
  void Send(std::span<const uint8_t> frame) const;
  // The next frame with this EtherType, within five seconds; empty if none comes.
  [[nodiscard]] std::vector<uint8_t> Receive(uint16_t type) const;

 private:
  UniqueFd socket_;
};

}  // namespace mayfly
