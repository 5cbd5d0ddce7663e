#pragma once

#include <string>

#include "vmm/cli/host_report.h"

namespace CLI {
class App;
}

namespace mayfly {

struct DoctorArguments {
  bool json = false;
  bool production = false;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddDoctorCommand(CLI::App& app, DoctorArguments& arguments);

// The report for a person, a line a check, or as JSON.
std::string FormatHostReport(const HostReport& report, bool json);

// Prints what this host can do. kSuccess if a machine can run here, else kHost. With `production`
// instead whether it is set up for guests that nobody trusts: kSuccess if nothing is left to do.
int RunDoctor(const DoctorArguments& arguments);

}  // namespace mayfly
