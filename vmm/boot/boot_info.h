#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "vmm/boot/kernel.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

struct InitrdLocation {
  GuestAddress start;
  uint64_t size;
};

// What the kernel is told besides its own image.
struct BootInfo {
  std::string command_line;
  std::optional<InitrdLocation> initrd;
  GuestAddress rsdp;
};

// Writes the command line and the structure that the kernel's boot protocol asks for, with the
// memory map. Fails with kInvalidArgument if the command line is too long or holds a NUL.
Result<void> WriteBootInfo(const LoadedKernel& kernel, const BootInfo& info,
                           const GuestMemory& memory);

}  // namespace mayfly
