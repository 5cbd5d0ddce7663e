#include "devices/virtio/blk/blk.h"

#include "base/check.h"
#include "tests/fakes/fake_blk_backend.h"
#include "tests/fuzz/blk_requests.h"
#include "tests/fuzz/device_rig.h"

// The block device on a disk in memory, which fails when the input says so.
namespace mayfly {
namespace {

constexpr size_t kDiskSize = 8 * 1024;

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  const auto options = in.Take<uint8_t>();
  auto disk = std::make_unique<FakeBlkBackend>(kDiskSize, (options & 1) != 0);
  FakeBlkBackend* const backend = disk.get();
  DeviceRig rig(*BlkDevice::Create({"disk0", std::move(disk), nullptr}),
                (options & 2) != 0 ? KickMode::kLoop : KickMode::kInline);
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(8)) {
      case 0:
      case 1:
      case 2:
        SubmitBlkRequest(in, rig.driver());
        break;
      case 3: {
        const auto failures = in.Take<uint8_t>();
        backend->fail_read = (failures & 1) != 0;
        backend->fail_write = (failures & 2) != 0;
        backend->fail_flush = (failures & 4) != 0;
        break;
      }
      case 4:
        rig.RunLoop();
        break;
      default:
        rig.driver().Act(in);
    }
  }
  CHECK(!backend->read_only() || backend->writes == 0);
  rig.driver().Check();
}

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::Play(in);
  return 0;
}
