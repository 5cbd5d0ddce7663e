#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/cli/host_link.h"
#include "vmm/function/interrupts.h"

namespace mayfly {

// Sets up and takes down guests' links, with the programs ip and nft. Everything can be done again:
// what is there already stays, what is gone already is no error. An interface that it did not make
// it does not touch. One at a time on a host.
class HostLinks {
 public:
  // Waits until nobody else is at it. `interrupts` is borrowed.
  static Result<HostLinks> Create(const Interrupts* interrupts);

  // If a step fails, or a signal arrives, what the steps before it made is taken down again.
  Result<void> Up(const HostLink& link);
  Result<void> Down(const HostLink& link);
  // A line for each link in the current namespace, or in `netns`.
  Result<std::string> Show(const std::string& netns);
  // What ended the last Up(), if it was a signal; else 0.
  [[nodiscard]] int signal() const { return signal_; }

 private:
  using Command = std::vector<std::string>;

  HostLinks(const Interrupts* interrupts, UniqueFd lock)
      : interrupts_(interrupts), lock_(std::move(lock)) {}

  // The program's output; an error, with its first line, if it fails.
  Result<std::string> Run(const Command& command);
  // Runs it, and has `undo` run if a later step fails.
  Result<void> Make(const Command& command, Command undo);
  void Undo();

  enum class Owner { kNobody, kMayfly, kOther };
  Result<Owner> OwnerOf(const std::string& netns, const std::string& interface);
  // True if it has to be made; an error if it is somebody else's.
  Result<bool> IsMissing(const std::string& netns, const std::string& interface);

  Result<void> UpSteps(const HostLink& link);
  Result<void> AddNamespace(const HostLink& link);
  Result<void> AddBridge(const HostLink& link);
  Result<void> AddTap(const HostLink& link);
  Result<void> AddRules(const HostLink& link);
  // Deletes an interface of ours, if it is there.
  Result<void> Delete(const std::string& netns, const std::string& interface);
  // The /30 between host and namespace: the one it has, or one that nobody has.
  Result<Ipv4Network> UplinkNetwork(const HostLink& link);

  const Interrupts* interrupts_;
  UniqueFd lock_;
  std::vector<Command> undo_;
  int signal_ = 0;
};

}  // namespace mayfly
