#include "vmm/machine/new_life.h"

#include <sys/random.h>

#include <chrono>
#include <span>

#include "base/bytes.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {
namespace {

// So few bytes come whole or not at all.
Result<void> FillRandom(std::span<uint8_t> bytes) {
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return FailErrno("getrandom");
  }
  return {};
}

}  // namespace

RestorePage FirstLife() {
  RestorePage page{};
  page.magic = RestorePage::kMagic;
  page.version = RestorePage::kVersion;
  return page;
}

Result<uint32_t> NewCid() {
  uint32_t cid = 0;
  // 0 to 2 and the last one are reserved.
  while (cid < VsockConfig::kDefaultGuestCid || cid == UINT32_MAX) {
    TRY(FillRandom(MutableBytesOf(cid)));
  }
  return cid;
}

uint64_t WallClockNs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

Result<RestorePage> NewLife() {
  RestorePage page = FirstLife();
  // 64 random bits instead of a count: clones of one snapshot know nothing of each other.
  while (page.generation == 0) TRY(FillRandom(MutableBytesOf(page.generation)));
  TRY(FillRandom(page.entropy));
  return page;
}

}  // namespace mayfly
