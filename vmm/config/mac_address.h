#pragma once

#include <string_view>

#include "base/result.h"
#include "devices/virtio/net/net_state.h"

namespace mayfly {

// "02:00:00:00:00:01". Errors are kInvalidArgument.
Result<MacAddress> ParseMac(std::string_view text);

}  // namespace mayfly
