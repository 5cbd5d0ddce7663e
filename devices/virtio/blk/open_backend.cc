#include "devices/virtio/blk/open_backend.h"

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

}  // namespace

Result<std::unique_ptr<BlkBackend>> OpenBlkBackend(DiskSource source) {
  std::unique_ptr<RawDisk> disk =
      TRY(source.fd.valid() ? RawDisk::Create(std::move(source.fd), source.path, source.read_only)
                            : RawDisk::Open(source.path, source.read_only));
  if (source.engine != BlkEngine::kThread) {
    auto backend = OnUring(&disk);
    if (backend || source.engine == BlkEngine::kUring) return backend;
  }
  return ThreadBackend::Create(std::move(disk));
}

}  // namespace mayfly
