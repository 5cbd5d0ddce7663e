#include "vmm/cli/override_options.h"

#include <CLI/App.hpp>

namespace mayfly {

void AddOverrideOption(CLI::App& command, std::vector<std::string>& texts) {
  command
      .add_option("--override", texts,
                  "Another identity than by default: netN.mac=MAC, vsock.cid=N, generation=GUID, "
                  "entropy=HEX; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

Result<Overrides> ParseOverrideOption(const std::vector<std::string>& texts) {
  return WithContext(ParseOverrides(texts), "--override");
}

}  // namespace mayfly
