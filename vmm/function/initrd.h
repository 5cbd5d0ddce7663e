#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

// Files of the host that go into a function's initrd.
struct InitrdContents {
  std::string init;                  // Becomes /init.
  std::string handler;               // Becomes /mayfly/bin/handler, the native handlers' host.
  std::vector<std::string> modules;  // Become /mayfly/modules/NNN-name.ko: load them by name order.
};

// An uncompressed cpio archive in the newc form (Documentation/driver-api/early-userspace/
// buffer-format.rst) with these files, the empty directories that init mounts on, and /dev/console,
// which the kernel opens for it. Equal files give equal bytes. kTooLarge for a file above 64 MiB.
Result<std::vector<uint8_t>> BuildInitrd(const InitrdContents& contents);

}  // namespace mayfly
