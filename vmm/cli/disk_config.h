#pragma once

#include "vmm/cli/disk_options.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// A disk of a machine, as its options describe it.
inline DiskConfig DiskConfigOf(const DiskOptions& options) {
  DiskConfig config;
  config.path = options.path;
  config.read_only = options.read_only;
  config.overlay = options.overlay;
  config.engine = options.engine;
  config.options = {options.queues, options.serial, options.block_size, options.limits};
  return config;
}

}  // namespace mayfly
