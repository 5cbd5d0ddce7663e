#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "jailer/jail.h"
#include "vmm/zygote/packet.h"

namespace mayfly {

// What the clones of a zygote do, each in a process of its own: the zygote holds one, and every
// fork has a copy of it. One thread.
class CloneBody {
 public:
  virtual ~CloneBody() = default;
  // After the fork, ahead of a request: what can be made without knowing it. Whatever belongs to a
  // process, as KVM's machines do, is made here and not before.
  virtual Result<void> Prepare() = 0;
  // Once; returns when the clone is to end. `host` is the socket to whom it works for; an error is
  // reported there.
  virtual Result<void> Run(int host, Packet request) = 0;
};

// A process that is jailed and waits, and forks a clone for each request of the host process's: see
// docs/embedding.md. It never looks at anything of a guest's. One thread.
class Zygote {
 public:
  // Makes a jail, and serves in it until the other end of `control` is closed. All that `body`
  // needs of the host is open, and in `keep`. `stock` clones wait ahead of their requests. Returns
  // when nothing is left of it; an error was reported over `control`, too. The calling process has
  // one thread.
  static Result<void> Run(JailOptions jail, std::vector<int> keep, UniqueFd control, uint32_t stock,
                          CloneBody* body);

 private:
  struct Clone {
    pid_t pid;
    UniqueFd process;
    UniqueFd requests;  // Until it has got its request.
    UniqueFd host{};    // From then on: to say how it ended, and to see the host close its end.
  };

  Zygote(UniqueFd control, uint32_t stock, CloneBody* body)
      : control_(std::move(control)), stock_(stock), body_(body) {}

  int Serve();
  Result<void> FillStock();
  Result<Clone> Fork();
  [[noreturn]] void BeClone(UniqueFd requests);
  // False when the host has gone.
  bool TakeRequest();
  Result<void> HandOn(const Packet& request);
  void LookAfterClones(std::span<const short> happened);
  void Bury(Clone& clone) const;

  UniqueFd control_;
  const uint32_t stock_;
  CloneBody* const body_;
  std::deque<Clone> waiting_;
  std::vector<Clone> clones_;
};

}  // namespace mayfly
