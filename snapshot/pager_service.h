#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/event_fd.h"
#include "base/thread.h"
#include "snapshot/fault_server.h"
#include "snapshot/working_set.h"

namespace mayfly {

// The pager as a process: answers the faults of any number of machines that were restored from one
// snapshot, and that come to its socket. Each of them has threads of its own, so that none waits
// for another.
class PagerService {
 public:
  struct Options {
    std::string path{};  // Of the socket, which does not exist yet; only this user may connect.
    uint64_t image_bytes = 0;
    std::string snapshot{};  // The manifest's digest: machines that name another are refused.
    std::optional<WorkingSet> working_set{};  // Pushed into each.
    FaultServerOptions pager{};
    std::function<void(const Error&)> report;  // Why a machine was given up; on its thread.
  };

  static Result<std::unique_ptr<PagerService>> Create(std::unique_ptr<PageSource> source,
                                                      Options options);
  // Serves the one machine at the other end of `socket`, until it is gone.
  static Result<void> ServeOne(UniqueFd socket, std::unique_ptr<PageSource> source,
                               const Options& options);
  PagerService(const PagerService&) = delete;
  PagerService& operator=(const PagerService&) = delete;
  // Lets go of all machines, and removes the socket.
  ~PagerService();

  // Serves until Stop(), which any thread may call.
  Result<void> Run();
  void Stop() { stop_.Signal(); }

 private:
  class Client;
  // More than any host has machines; each has two threads and a descriptor or three.
  static constexpr size_t kMostClients = 4096;

  PagerService(std::unique_ptr<PageSource> source, Options options, UniqueFd listener,
               EventFd stop);
  Result<void> Accept();

  const std::unique_ptr<PageSource> source_;
  const Options options_;
  const UniqueFd listener_;
  const EventFd stop_;
  std::list<Client> clients_;  // Last: gone before what they use.
};

}  // namespace mayfly
