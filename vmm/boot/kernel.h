#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// How the first vCPU enters the kernel.
enum class BootProtocol {
  kPvh,      // 32-bit protected mode, EBX points to hvm_start_info (Xen, pvh.pandoc)
  kLinux64,  // 64-bit mode, RSI points to boot_params (Documentation/x86/boot.rst)
};

// A kernel that stands in guest memory.
struct LoadedKernel {
  BootProtocol protocol;
  GuestAddress entry;
  // The first byte behind everything that the kernel uses before it knows its memory map.
  GuestAddress end;
  // An initrd lies wholly below this.
  uint64_t initrd_limit;
  // bzImage only: the setup header, to be copied into the zero page; empty otherwise.
  std::vector<uint8_t> setup_header;
};

// Loads an ELF vmlinux (through its PVH note if it has one, else its 64-bit entry) or a bzImage.
// The file is untrusted: what is wrong with it is a kCorrupt error that names `path`.
Result<LoadedKernel> LoadKernel(const std::string& path, const GuestMemory& memory);
// The same with a file that is open.
Result<LoadedKernel> LoadKernel(const std::string& path, UniqueFd fd, const GuestMemory& memory);

// Copies `initrd` to the highest page-aligned place that the kernel allows, and returns where.
Result<GuestAddress> LoadInitrd(std::span<const uint8_t> initrd, const LoadedKernel& kernel,
                                const GuestMemory& memory);

}  // namespace mayfly
