#pragma once

#include <string>
#include <string_view>

namespace mayfly::init {

// The words of the kernel's command line that are init's.
struct CommandLine {
  bool console = false;        // mayfly.console=1: init's log lines on the console too
  std::string control_device;  // mayfly.control=PATH: the control channel, instead of vsock
};

CommandLine ParseCommandLine(std::string_view text);

}  // namespace mayfly::init
