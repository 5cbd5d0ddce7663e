#include "devices/virtio/rng/rng_backend.h"

#include <sys/random.h>

namespace mayfly {

Result<void> HostEntropy::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t count = ::getrandom(out.data(), out.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("getrandom");
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace mayfly
