#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace mayfly::init {

// Mounts what init itself works with: /proc, /sys, /dev, /run, /tmp and the cgroup v2 hierarchy.
Result<void> MountSystem();

// Where the handler's root is put together.
inline constexpr char kFunctionRoot[] = "/run/mayfly/root";

// What the handler finds as /proc/sys/kernel/random/boot_id: Linux has one in all lives of a
// machine, and mayfly-init another in each.
inline constexpr char kBootId[] = "/run/mayfly/boot-id";

// Mounts the function image on `device` (EROFS, read-only) under a writable layer in memory, with
// /proc, /sys (read-only), a minimal /dev, /tmp and /run/mayfly/bin, at kFunctionRoot. What the
// handler can store in the layers in memory is a part of `memory_bytes`.
Result<void> MountFunction(const std::string& device, uint64_t memory_bytes);

}  // namespace mayfly::init
