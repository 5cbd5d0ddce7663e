#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "guest-init/messages.h"

namespace mayfly::init {

// Gives each interface its address, brings it up, and sets the default route.
Result<void> ConfigureInterfaces(const std::vector<NetworkInterface>& interfaces);

// Makes `root`/etc/resolv.conf name the interfaces' servers, if they have any. `root` is a
// function's: whatever links there are in it, nothing outside is touched.
Result<void> WriteResolvConf(const std::string& root,
                             const std::vector<NetworkInterface>& interfaces);

}  // namespace mayfly::init
