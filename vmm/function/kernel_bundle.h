#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

// A guest kernel and what it needs loaded before it can see its devices.
struct KernelBundle {
  std::string kernel;                  // An ELF vmlinux or a bzImage.
  std::vector<std::string> modules{};  // Files, in the order in which they must be loaded.

  bool operator==(const KernelBundle&) const = default;
};

// `path` is a kernel, or a bundle directory:
//
//   vmlinux, bzImage or vmlinuz     the kernel; the first of these that is there
//   modules/load-order              if it needs modules: one file name a line
//   modules/*.ko                    the modules
//
// kNotFound or kCorrupt, naming the file.
Result<KernelBundle> ResolveKernel(const std::string& path);

// The kernel that is used when none is named: $MAYFLY_KERNEL, else minimal or debian in the cache
// that the scripts fill. kNotFound if there is none, with the scripts that make one.
Result<std::string> FindDefaultKernel();

// Where the scripts put guest kernels: ${MAYFLY_CACHE:-${XDG_CACHE_HOME:-~/.cache}/mayfly}/kernels.
std::string KernelCacheDirectory();

}  // namespace mayfly
