#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/event_fd.h"
#include "base/thread.h"
#include "snapshot/pager.h"
#include "snapshot/stall_watch.h"
#include "snapshot/userfaultfd.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// A pager that is a process of its own, and that nobody trusts to live: `mayfly pager`, or one
// written for Firecracker (docs/pager-protocol.md). This is the machine's half of it, a thread that
// watches the process. If it dies, hangs up or leaves a fault unanswered for too long, all of the
// memory becomes inaccessible at once: who waits is freed, and what would be missing is never taken
// for zeros. The userfaultfd stays open here for that reason.
class RemotePager final : public Pager {
 public:
  // What a process needs for its half once it may open nothing any more.
  struct Prepared {
    Userfaultfd userfaultfd;  // Of the process's own memory, and open for as long as the pager is.
    UniqueFd info;            // StallWatch::OpenInfo() of it.
  };
  // A connection to a pager.
  struct Peer {
    UniqueFd socket;
    UniqueFd process;  // A pidfd; invalid if the process cannot be named from here.
  };

  struct Options {
    std::string path;  // Of the socket that the process listens on; empty if it has `socket`.
    int socket = -1;   // Else the other end of the connection that the process has. Borrowed.
    // How long a fault may go unanswered.
    std::chrono::milliseconds deadline{2000};
    std::string snapshot{};              // PagerHandshake::snapshot
    int process = -1;                    // With `socket`: a pidfd of it, or -1. Borrowed.
    const Prepared* prepared = nullptr;  // Null: all is opened.
    std::function<void()> on_start{};    // Called first in the thread; may be empty.
  };

  // From now on the process fills every page of `memory` when anybody touches it.
  static Result<std::unique_ptr<RemotePager>> Create(GuestMemory* memory, const Options& options);
  ~RemotePager() override;

  void Abandon() override;

  // Connects to `options.path`, or duplicates `options.socket`.
  static Result<Peer> Connect(const Options& options);
  // In the process whose memory it will be.
  static Result<Prepared> Prepare(int device);

 private:
  RemotePager(PagedRegions regions, Userfaultfd uffd, Peer peer, StallWatch stall, EventFd wake)
      : regions_(std::move(regions)),
        uffd_(std::move(uffd)),
        peer_(std::move(peer)),
        stall_(std::move(stall)),
        wake_(std::move(wake)) {}

  void Loop(std::chrono::milliseconds deadline);
  // What the process said before it hung up, or that it said nothing.
  [[nodiscard]] Error LastWords() const;
  void RefuseAll();

  const PagedRegions regions_;
  const Userfaultfd uffd_;
  const Peer peer_;
  StallWatch stall_;  // The thread's.
  const EventFd wake_;

  Thread thread_;  // Last: joined before the rest goes.
};

}  // namespace mayfly
