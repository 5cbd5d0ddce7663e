#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <functional>
#include <span>

#include "base/result.h"

namespace mayfly {

// What the headers of received frames may leave to the guest.
struct NetOffloads {
  bool checksum = false;
  bool tso4 = false;  // Only with checksum.
  bool tso6 = false;

  bool operator==(const NetOffloads&) const = default;
};

// What a network device sends to and receives from: a tap, or a fake. Owned by its NetDevice, which
// calls it from one thread at a time. A frame is a net::Header and the bytes of the frame. iovecs
// into guest memory are for system calls that copy, and are not to be read.
class NetBackend {
 public:
  virtual ~NetBackend() = default;

  // `ready` is called, on the loop's thread and with no lock of the backend's held, after a Read()
  // found nothing and there may be something. Called often, or for nothing, it does no harm.
  virtual void SetReady(std::function<void()> ready) = 0;
  // One frame; the iovecs have room for the longest. Its length with the header, or 0 if there is
  // none. After an error nothing more comes until `ready` is called.
  virtual Result<size_t> Read(std::span<const iovec> to) = 0;
  // One frame, wholly or not at all. Does not wait.
  virtual Result<void> Write(std::span<const iovec> frame) = 0;
  virtual Result<void> SetOffloads(const NetOffloads& offloads) = 0;
  // Tells the other end of the link whether anybody is here.
  virtual Result<void> SetCarrier(bool up) = 0;
};

}  // namespace mayfly
