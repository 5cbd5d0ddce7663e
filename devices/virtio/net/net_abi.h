#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// Constants and layouts of the network device (virtio 1.2, section 5.1), named as there.
namespace mayfly::net {

inline constexpr uint64_t kFeatureCsum = 1ULL << 0;
inline constexpr uint64_t kFeatureGuestCsum = 1ULL << 1;
inline constexpr uint64_t kFeatureMtu = 1ULL << 3;
inline constexpr uint64_t kFeatureMac = 1ULL << 5;
inline constexpr uint64_t kFeatureGuestTso4 = 1ULL << 7;
inline constexpr uint64_t kFeatureGuestTso6 = 1ULL << 8;
inline constexpr uint64_t kFeatureHostTso4 = 1ULL << 11;
inline constexpr uint64_t kFeatureHostTso6 = 1ULL << 12;
inline constexpr uint64_t kFeatureMergeableBuffers = 1ULL << 15;
inline constexpr uint64_t kFeatureStatus = 1ULL << 16;

// The start of the configuration space (5.1.4), as far as our features make it valid.
struct Config {
  std::array<uint8_t, 6> mac;
  uint16_t status;
  uint16_t max_virtqueue_pairs;
  uint16_t mtu;
};
static_assert(sizeof(Config) == 12);

inline constexpr uint16_t kStatusLinkUp = 1;

// In front of every frame, both ways (5.1.6).
struct Header {
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t hdr_len = 0;
  uint16_t gso_size = 0;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;
  uint16_t num_buffers = 0;
};
static_assert(sizeof(Header) == 12);

inline constexpr uint8_t kFlagNeedsCsum = 1;
inline constexpr uint8_t kFlagDataValid = 2;

inline constexpr uint8_t kGsoNone = 0;
inline constexpr uint8_t kGsoTcp4 = 1;
inline constexpr uint8_t kGsoTcp6 = 4;

// The start of a frame.
struct EthernetHeader {
  std::array<uint8_t, 6> destination;
  std::array<uint8_t, 6> source;
  uint16_t type;
};
static_assert(sizeof(EthernetHeader) == 14);

// The longest frame with its Header: a segment of 65,536 bytes and its Ethernet header (5.1.6.3.1).
inline constexpr size_t kMostFrameBytes = 65550 + sizeof(Header);

}  // namespace mayfly::net
