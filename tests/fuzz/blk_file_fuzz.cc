#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/file_backend.h"
#include "tests/fuzz/blk_requests.h"
#include "tests/fuzz/device_rig.h"

// The block device on a real file, which becomes shorter and longer when the input says so.
namespace mayfly {
namespace {

constexpr off_t kDiskSize = 8 * 1024;

int DiskFile() {
  static const int fd = ::memfd_create("disk", MFD_CLOEXEC);
  return fd;
}

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  CHECK(::ftruncate(DiskFile(), kDiskSize) == 0);
  auto disk = *FileBackend::Create(UniqueFd(::dup(DiskFile())), "disk", false, "serial");
  DeviceRig rig(*BlkDevice::Create({"disk0", std::move(disk), nullptr}), KickMode::kInline);
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(8)) {
      case 0:
      case 1:
      case 2:
        SubmitBlkRequest(in, rig.driver());
        break;
      case 3:
        CHECK(::ftruncate(DiskFile(), in.Below(4) == 0 ? in.Take<uint16_t>() : kDiskSize) == 0);
        break;
      case 4:
        rig.RunLoop();
        break;
      default:
        rig.driver().Act(in);
    }
  }
  rig.driver().Check();
}

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::Play(in);
  return 0;
}
