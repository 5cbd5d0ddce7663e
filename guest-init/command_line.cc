#include "guest-init/command_line.h"

#include <algorithm>

namespace mayfly::init {

CommandLine ParseCommandLine(std::string_view text) {
  constexpr std::string_view kControl = "mayfly.control=";
  CommandLine options;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    if (word == "mayfly.console=1") options.console = true;
    if (word.starts_with(kControl)) options.control_device = word.substr(kControl.size());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return options;
}

}  // namespace mayfly::init
