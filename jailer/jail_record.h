#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jailer/cgroup.h"
#include "jailer/jail_id.h"

namespace mayfly {

// What a jail has put on the host, written down before it is put there: a directory named like the
// jail, with a lock that its supervisor holds as long as it lives. The kernel lets go of the lock
// whichever way the supervisor ends; whoever can take it knows that nobody cleans up any more.
class JailRecord {
 public:
  // The directory of this user's records: /run/mayfly/jails, or below $XDG_RUNTIME_DIR; or as
  // MAYFLY_RUN_DIR says.
  static std::string DefaultDirectory();

  // kInvalidArgument if a jail of that name is there, alive or not yet collected.
  static Result<JailRecord> Create(const std::string& directory, const JailId& id);
  JailRecord(JailRecord&&) = default;
  JailRecord& operator=(JailRecord&&) = delete;
  // Removes the record: everything in it has been removed.
  ~JailRecord();

  struct Contents {
    std::vector<Cgroup::Place> cgroups{};
    std::vector<std::string> sockets{};  // Paths.
  };
  // Replaces what is written down. kInvalidArgument for a path with a line's end in it.
  [[nodiscard]] Result<void> Write(const Contents& contents) const;

 private:
  JailRecord(UniqueFd root, UniqueFd directory, UniqueFd lock, JailId id)
      : root_(std::move(root)),
        directory_(std::move(directory)),
        lock_(std::move(lock)),
        id_(std::move(id)) {}

  UniqueFd root_;
  UniqueFd directory_;
  UniqueFd lock_;
  JailId id_;
};

struct CollectedJails {
  size_t removed = 0;
  size_t alive = 0;
  std::vector<Error> failures;
};

// Removes what jails left whose supervisors are dead: processes, control groups, sockets, records.
// Any number of collectors and supervisors may be at work at once.
Result<CollectedJails> CollectJails(const std::string& directory);

}  // namespace mayfly
