#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest-init/handler_process.h"
#include "guest-init/messages.h"

namespace mayfly::init {

// What a session needs of the machine around it: the guest in production, the test's own process in
// tests. Calls come on the loop's thread.
class Platform {
 public:
  struct Place {
    HandlerJail jail;
    std::string task_directory;  // Where the function's files are, seen from inside of the jail.
    std::string runner;          // mayfly-handler, likewise.
    uint16_t runtime_api_port;   // 0 takes a free one.
  };

  // How the machine goes on behind its snapshot point.
  struct Life {
    bool await_restore = false;  // The host has more to say before the handler may run.
  };

  virtual ~Platform() = default;
  // Sets the clock, mounts the function, prepares its network and its control group.
  virtual Result<Place> Prepare(const Function& function) = 0;
  // Ends every process of the handler's, however many there are.
  virtual void KillHandler() = 0;
  // True if the kernel has killed the handler because its memory was used up.
  virtual bool OutOfMemory() = 0;
  // The most memory that the handler has used so far, in bytes; 0 if unknown.
  virtual uint64_t PeakMemory() = 0;
  // Freezes the handler and makes the machine's memory as small as it gets.
  virtual Result<void> PrepareSnapshot() = 0;
  // Has the snapshot taken and returns in each life of it, with random numbers and a clock of its
  // own. What was sent before is on its way to the host.
  virtual Result<Life> PassSnapshotPoint() = 0;
  // Lets the handler run, with these interfaces instead of those it had if there are any.
  virtual Result<void> Resume(const std::vector<NetworkInterface>& network) = 0;
  // Ends the machine. Returns in tests only.
  virtual void PowerOff() = 0;
};

}  // namespace mayfly::init
