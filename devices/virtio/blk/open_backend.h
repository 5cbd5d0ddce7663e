#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "devices/virtio/blk/blk_backend.h"

namespace mayfly {

// What carries out a disk's requests.
enum class BlkEngine : uint8_t {
  kBest,  // io_uring where the host and the build have it, else a thread.
  kUring,
  kThread,
};

// Where a disk is, and how it is to be used.
struct DiskSource {
  std::string path{};  // For opening, and for errors.
  bool read_only = false;
  UniqueFd fd{};  // If valid, the disk itself; `path` is then only a name.
  BlkEngine engine = BlkEngine::kBest;
  // The file of a layer over the disk, which is then only read; created if nothing is there. Empty:
  // none. The descriptor, if valid, is that file itself.
  std::string overlay{};
  UniqueFd overlay_fd{};
  // Called first in the thread that the disk has, if it has one; may be empty.
  std::function<void()> on_thread_start{};
};

Result<std::unique_ptr<BlkBackend>> OpenBlkBackend(DiskSource source);

}  // namespace mayfly
