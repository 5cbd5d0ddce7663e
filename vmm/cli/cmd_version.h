#pragma once

#include <string>

namespace CLI {
class App;
}

namespace mayfly {

struct VersionArguments {
  bool json = false;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddVersionCommand(CLI::App& app, VersionArguments& arguments);

// This program's version, and those of the formats that it reads.
std::string VersionText(const VersionArguments& arguments);

}  // namespace mayfly
