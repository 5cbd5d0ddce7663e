#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/zygote/packet.h"

namespace mayfly {

// A zygote and its supervisor, as the host process has them; they and all clones end with this. Any
// thread.
class ZygoteProcess {
 public:
  // Starts a program that serves at the descriptor kControlFd, as `mayfly zygote` does, with no
  // other descriptor than those that it is given, and no environment but MAYFLY_RUN_DIR. Standard
  // input, output and error are /dev/null.
  static constexpr int kControlFd = 3;
  // `inherited` follow, as 4 and so on.
  static Result<std::unique_ptr<ZygoteProcess>> Start(const std::string& program,
                                                      std::vector<std::string> arguments,
                                                      const std::vector<int>& inherited);
  // One that was forked already.
  ZygoteProcess(UniqueFd control, pid_t supervisor)
      : control_(std::move(control)), supervisor_(supervisor) {}
  ZygoteProcess(const ZygoteProcess&) = delete;
  ZygoteProcess& operator=(const ZygoteProcess&) = delete;
  ~ZygoteProcess();

  // Until it serves, or its error.
  Result<void> WaitReady();

  // Has it make a clone that is given `head`, `bytes` and `fds`; returns the socket to it, whose
  // end the clone ends with.
  Result<UniqueFd> MakeClone(const PacketHead& head, std::span<const uint8_t> bytes = {},
                             std::vector<int> fds = {});

 private:
  const UniqueFd control_;
  const pid_t supervisor_;
};

// The error of a kFailed packet; of any other, that it was not to be expected.
Error ErrorOf(const Packet& packet);

}  // namespace mayfly
