#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "jailer/cgroup.h"
#include "jailer/jail_id.h"
#include "jailer/jail_record.h"
#include "jailer/namespaces.h"
#include "jailer/process_limits.h"

namespace mayfly {

// What a jail is made of, each of which holds by itself: tests leave one out and see that the
// others do. no_new_privs is not among them.
struct JailLayers {
  bool user = true;        // A user of its own.
  bool namespaces = true;  // Process, user, mount, network, IPC, UTS, cgroup.
  bool empty_root = true;
  bool capabilities = true;  // None of them.
  bool landlock = true;
  bool limits = true;   // rlimits.
  bool seccomp = true;  // Whether the jailed process is to filter its threads.
};

struct JailOptions {
  JailId id = JailId::OfThisProcess();
  std::string record_directory = JailRecord::DefaultDirectory();
  // Nothing: one that no other machine of this host has, for root; the caller itself, else.
  std::optional<JailUser> user{};
  CgroupLimits cgroup{};
  ProcessLimits process{};
  JailLayers layers{};
  // Unix sockets that the supervisor is going to make, for the collector if it does not live to
  // remove them.
  std::vector<std::string> sockets{};
};

// How a jailed process ended.
struct JailEnd {
  int status = 0;              // Its exit status, or 128 and the signal's number.
  int signal = 0;              // The signal that ended it, or 0.
  bool out_of_memory = false;  // It, or a process of its own, was killed for its memory limit.
  bool limit_was_hit = false;  // It came to that limit, for which a system call may have failed.
};

// What a jailed process says to its supervisor: `read` is called when there is something, and
// returns false when nothing more is wanted.
struct JailChannel {
  int fd = -1;
  std::function<bool(int fd)> read{};
};

// One jail, as its supervisor has it: makes control groups and record, starts the process that is
// locked up, waits for it, and removes what it has made. The supervisor has one thread.
class Jail {
 public:
  // Nothing stays behind if it fails.
  static Result<std::unique_ptr<Jail>> Create(JailOptions options);
  Jail(const Jail&) = delete;
  Jail& operator=(const Jail&) = delete;
  // Kills what still runs.
  ~Jail();

  // Starts `body` in a process of its own, in the jail; its result is the exit status. All that it
  // needs of the host is open before; of the descriptors it finds 0, 1, 2 and `keep`. It begins
  // with the signals blocked that Wait() hands on.
  // `before`, if it is not empty, is called in that process while it still has the host's files; it
  // returns further descriptors to keep.
  using Before = std::function<Result<std::vector<int>>()>;
  Result<void> Start(const std::vector<int>& keep, const std::function<int()>& body,
                     const Before& before = {});
  // Waits for the end of it; SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 go to the process. Errors
  // are the supervisor's own.
  Result<JailEnd> Wait(const std::vector<JailChannel>& channels = {});

  [[nodiscard]] const JailOptions& options() const { return options_; }
  [[nodiscard]] pid_t process() const { return process_; }

 private:
  Jail(JailOptions options, JailUser user, JailRecord record)
      : options_(std::move(options)), user_(user), record_(std::move(record)) {}

  // In the new process: everything but the filters, which are for threads.
  [[nodiscard]] Result<void> Enter(std::vector<int> keep, int parent, const Before& before) const;

  void ForwardSignals() const;

  const JailOptions options_;
  const JailUser user_;
  JailRecord record_;
  std::optional<Cgroup> cgroup_;  // Goes before the record of it.
  pid_t process_ = -1;
  UniqueFd process_fd_;
  UniqueFd signals_;  // For the process.
};

}  // namespace mayfly
