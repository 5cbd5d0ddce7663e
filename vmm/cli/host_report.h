#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mayfly {

enum class CheckStatus { kOk, kWarning, kMissing };

std::string_view NameOf(CheckStatus status);

struct HostCheck {
  std::string name{};
  CheckStatus status = CheckStatus::kOk;
  std::string found{};
  std::string advice{};   // What to do about it; empty if all is well.
  bool required = false;  // Without it no machine can run.
};

// What this host offers to machines.
struct HostReport {
  std::vector<HostCheck> checks;
  bool linux_guests = false;  // Whether a stock Linux kernel can be expected to boot.

  [[nodiscard]] bool CanRun() const;
};

// Looks at the host. `root` stands in front of every path, for tests; it is empty otherwise.
HostReport InspectHost(const std::string& root);

// The parts of it: KVM, and everything else.
void InspectKvm(const std::string& root, HostReport& report);
void InspectKernel(const std::string& root, HostReport& report);
void InspectTools(HostReport& report);

}  // namespace mayfly
