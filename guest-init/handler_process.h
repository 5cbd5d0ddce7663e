#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "guest-init/child_reaper.h"

namespace mayfly::init {

// The place that a handler's process is put into before its program starts. Empty or unset members
// change nothing, which is how tests run handlers on the host.
struct HandlerJail {
  std::string root;          // Its root directory: a mount.
  std::string cgroup_procs;  // The file that takes it into its control group.
  bool drop_privileges = false;
  static constexpr uid_t kUser = 1000;
};

struct HandlerCommand {
  std::vector<std::string> arguments;    // [0] is the program's path.
  std::vector<std::string> environment;  // NAME=value
  std::string directory;
  // Becomes descriptor MAYFLY_NATIVE_FD if valid.
  UniqueFd channel;
};

// One handler process with its descendants, in a session of its own.
class HandlerProcess {
 public:
  // What became of it. `start_error` is set if its program could not be started.
  struct Exit {
    int status;
    std::string start_error;
  };
  using ExitCallback = std::function<void(const Exit&)>;
  struct Pipes {
    UniqueFd output;
    UniqueFd error;
  };

  // Forks. The program's own start is known only later: `on_exit` says if it failed.
  static Result<std::unique_ptr<HandlerProcess>> Start(const HandlerJail& jail,
                                                       HandlerCommand command, ChildReaper* reaper,
                                                       ExitCallback on_exit);
  ~HandlerProcess() = default;
  HandlerProcess(const HandlerProcess&) = delete;
  HandlerProcess& operator=(const HandlerProcess&) = delete;

  // The reading ends of its standard output and error; to be taken once.
  Pipes TakePipes() { return std::move(pipes_); }
  // SIGKILL for its process group. Who left it is the control group's.
  void KillGroup() const;
  [[nodiscard]] bool running() const { return running_; }
  // It has ended by now, even if the reaper has not come to say so.
  [[nodiscard]] bool HasEnded() const;

 private:
  HandlerProcess() = default;
  void OnExit(int status);

  pid_t pid_ = -1;
  bool running_ = false;
  Pipes pipes_;
  UniqueFd start_errors_;
  ExitCallback on_exit_;
};

// "exited with status 3", "was killed by SIGSEGV".
std::string DescribeExit(int status);

}  // namespace mayfly::init
