#include "vmm/cli/jail_handover.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/file.h"
#include "devices/virtio/net/tap_backend.h"
#include "vmm/kvm/kvm.h"

namespace mayfly {

Result<void> OpenForJail(UniqueFd* kvm, std::vector<NetConfig>* nets, std::vector<int>* keep) {
  *kvm = TRY(Kvm::OpenDevice());
  keep->push_back(kvm->get());
  for (size_t i = 0; i < nets->size(); ++i) {
    NetConfig& net = (*nets)[i];
    if (!net.fd.valid()) {
      net.fd = TRY(WithContext(TapBackend::Attach(net.tap), fmt::format("net{}", i)));
    }
    keep->push_back(net.fd.get());
  }
  return {};
}

Result<void> OpenForJail(DiskConfig* disk, std::vector<int>* keep) {
  if (disk->engine == BlkEngine::kUring) {
    return Fail(ErrorCode::kInvalidArgument, "engine: a jailed machine cannot have io_uring");
  }
  disk->engine = BlkEngine::kThread;
  const bool overlay = !disk->overlay.empty();
  disk->fd = TRY(OpenFile(disk->path, disk->read_only || overlay ? O_RDONLY : O_RDWR));
  keep->push_back(disk->fd.get());
  if (overlay) {
    disk->overlay_fd = TRY(OpenFile(disk->overlay, O_RDWR | O_CREAT, 0600));
    keep->push_back(disk->overlay_fd.get());
  }
  return {};
}

Result<UniqueFd> OpenForJail(MemoryImage& image, MemoryOptions* memory, std::vector<int>* keep) {
  const std::vector<int> layers = image.layers().fds();
  keep->insert(keep->end(), layers.begin(), layers.end());
  keep->push_back(image.digests_fd());
  *memory = TRY(SettleStamps(image, *memory));
  if (memory->way != MemoryWay::kUffd) return UniqueFd();
  UniqueFd userfaultfd = TRY(OpenFile("/dev/userfaultfd", O_RDWR));
  memory->pager.userfaultfd = userfaultfd.get();
  keep->push_back(userfaultfd.get());
  return userfaultfd;
}

}  // namespace mayfly
