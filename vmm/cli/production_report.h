#pragma once

#include <string>

#include "vmm/cli/host_report.h"

namespace mayfly {

// How far this host is set up for guests that nobody trusts, a check for each row of
// docs/production.md; kWarning says what to do. `root` as for InspectHost().
HostReport InspectProduction(const std::string& root);

}  // namespace mayfly
