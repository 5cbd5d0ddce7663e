#include "devices/virtio/net/net_header.h"

namespace mayfly::net {

std::optional<Header> Trusted(const Header& header, uint64_t driver_features) {
  const auto has = [&](uint64_t wanted) { return (driver_features & wanted) == wanted; };
  Header trusted{};
  if (has(kFeatureCsum) && (header.flags & kFlagNeedsCsum) != 0) {
    trusted.flags = kFlagNeedsCsum;
    trusted.csum_start = header.csum_start;
    trusted.csum_offset = header.csum_offset;
  }
  if (header.gso_type == kGsoNone) return trusted;
  const bool agreed = (header.gso_type == kGsoTcp4 && has(kFeatureCsum | kFeatureHostTso4)) ||
                      (header.gso_type == kGsoTcp6 && has(kFeatureCsum | kFeatureHostTso6));
  // A segmented frame has a checksum left to be done (5.1.6.2.1).
  if (!agreed || trusted.flags == 0 || header.gso_size == 0) return std::nullopt;
  trusted.gso_type = header.gso_type;
  trusted.gso_size = header.gso_size;
  // hdr_len stays 0: it is a hint, and nobody is to rely on it (5.1.6.2.2).
  return trusted;
}

bool Understood(const Header& header, uint64_t driver_features) {
  const auto has = [&](uint64_t wanted) { return (driver_features & wanted) == wanted; };
  if ((header.flags & kFlagNeedsCsum) != 0 && !has(kFeatureGuestCsum)) return false;
  switch (header.gso_type) {
    case kGsoNone:
      return true;
    case kGsoTcp4:
      return has(kFeatureGuestCsum | kFeatureGuestTso4);
    case kGsoTcp6:
      return has(kFeatureGuestCsum | kFeatureGuestTso6);
    default:
      return false;
  }
}

}  // namespace mayfly::net
