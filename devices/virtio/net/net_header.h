#pragma once

#include <cstdint>
#include <optional>

#include "devices/virtio/net/net_abi.h"

// The rules for the header in front of a frame (virtio 1.2, section 5.1.6), by what the driver has
// agreed to.
namespace mayfly::net {

// A copy of the guest's header without what it was not to write, or nothing if it makes no sense.
std::optional<Header> Trusted(const Header& header, uint64_t driver_features);

// Whether the guest can make sense of a frame with this header. What came before the offloads were
// set may ask for more than this driver has agreed to.
bool Understood(const Header& header, uint64_t driver_features);

}  // namespace mayfly::net
