#include "devices/virtio/blk/open_backend.h"

#include "devices/virtio/blk/overlay_disk.h"
#include "devices/virtio/blk/raw_disk.h"
#include "devices/virtio/blk/thread_backend.h"
#ifdef MAYFLY_HAVE_LIBURING
#include "devices/virtio/blk/uring_backend.h"
#endif

namespace mayfly {
namespace {

Result<std::unique_ptr<BlkBackend>> OnUring(std::unique_ptr<RawDisk>* disk) {
#ifdef MAYFLY_HAVE_LIBURING
  return UringBackend::Create(disk);
#else
  (void)disk;
  return Fail(ErrorCode::kUnsupported, "this build has no io_uring");
#endif
}

Result<std::unique_ptr<BlkBackend>> OpenOverlay(std::unique_ptr<RawDisk> base, DiskSource source) {
  if (source.engine == BlkEngine::kUring) {
    return Fail(ErrorCode::kInvalidArgument, "an overlay is served by a thread, not by io_uring");
  }
  auto disk =
      source.overlay_fd.valid()
          ? OverlayDisk::Create(std::move(base), std::move(source.overlay_fd), source.overlay)
          : OverlayDisk::Open(std::move(base), source.overlay);
  return ThreadBackend::Create(TRY(std::move(disk)), std::move(source.on_thread_start));
}

}  // namespace

Result<std::unique_ptr<BlkBackend>> OpenBlkBackend(DiskSource source) {
  const bool overlay = !source.overlay.empty();
  const bool read_only = source.read_only || overlay;
  std::unique_ptr<RawDisk> disk =
      TRY(source.fd.valid() ? RawDisk::Create(std::move(source.fd), source.path, read_only)
                            : RawDisk::Open(source.path, read_only));
  if (overlay) return OpenOverlay(std::move(disk), std::move(source));
  if (source.engine != BlkEngine::kThread) {
    auto backend = OnUring(&disk);
    if (backend || source.engine == BlkEngine::kUring) return backend;
  }
  return ThreadBackend::Create(std::move(disk), std::move(source.on_thread_start));
}

}  // namespace mayfly
