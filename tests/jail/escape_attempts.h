#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mayfly {

// What there is at the host for a jailed process to get at.
struct EscapeTarget {
  pid_t process;      // Of another user.
  uint16_t tcp_port;  // On which somebody listens at 127.0.0.1.
};

// One way out. `escapes` is true if it worked.
struct EscapeAttempt {
  std::string name;
  bool (*escapes)(const EscapeTarget& target);
};

const std::vector<EscapeAttempt>& EscapeAttempts();

}  // namespace mayfly
