#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/cli/options.h"

namespace mayfly {

// `mayfly pager` as a child of this process, for one machine: `mayfly invoke --pager auto`. Ends
// with its owner.
class PagerProcess {
 public:
  // Before this process has threads. It pages from `options.directory`.
  static Result<PagerProcess> Start(const RestoreOptions& options);
  PagerProcess(PagerProcess&& other) noexcept
      : socket_(std::move(other.socket_)), pid_(std::exchange(other.pid_, -1)) {}
  PagerProcess& operator=(PagerProcess&&) = delete;
  PagerProcess(const PagerProcess&) = delete;
  PagerProcess& operator=(const PagerProcess&) = delete;
  ~PagerProcess();

  // The machine's end of the connection.
  [[nodiscard]] int socket() const { return socket_.get(); }

 private:
  PagerProcess(UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  UniqueFd socket_;
  pid_t pid_;
};

}  // namespace mayfly
