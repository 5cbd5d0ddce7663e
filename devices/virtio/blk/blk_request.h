#pragma once

#include <cstdint>
#include <variant>

#include "devices/virtio/blk/blk_backend.h"
#include "devices/virtio/virtqueue.h"

namespace mayfly {

// What a request is checked against.
struct BlkLimits {
  static constexpr uint64_t kSectorSize = 512;
  // The most data of one request; more is answered IOERR. A chain may name the same guest page
  // again and again, up to 4 GiB, and would keep a thread in one system call for seconds. Linux
  // sends 4 MiB at most by itself.
  static constexpr uint64_t kMaxRequestBytes = 8ULL << 20;
  // The longest range of one discard, and of one write zeroes, which may have to be written out:
  // without a limit one small request would be a terabyte of work.
  static constexpr uint64_t kMaxDiscardBytes = 1ULL << 30;
  static constexpr uint64_t kMaxZeroBytes = 32ULL << 20;

  uint64_t capacity_sectors = 0;
  bool read_only = false;
};

// A request that is answered without the backend.
struct BlkAnswer {
  uint8_t status;
};
// A request for the disk's serial number, with room for it.
struct BlkGetId {};

using DecodedBlkRequest = std::variant<BlkAnswer, BlkGetId, BlkRequest>;

// What `chain` asks for (virtio 1.2, section 5.2.6), checked; a BlkRequest has no token yet. The
// chain's last writable byte, for the status, is there.
DecodedBlkRequest DecodeBlkRequest(const DescriptorChain& chain, const GuestMemory& memory,
                                   const BlkLimits& limits);

}  // namespace mayfly
