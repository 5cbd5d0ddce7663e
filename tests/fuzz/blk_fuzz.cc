#include "devices/virtio/blk/blk.h"

#include "base/check.h"
#include "tests/fakes/fake_blk_backend.h"
#include "tests/fuzz/blk_requests.h"
#include "tests/fuzz/device_rig.h"

// The block device on a disk in memory, which answers when and how the input says: at once, late,
// not in order, with errors, and to requests that nobody made.
namespace mayfly {
namespace {

constexpr size_t kDiskSize = size_t{8} * 1024;
constexpr RateLimits kFewRequests{.bytes = {}, .operations = {.per_second = 1000, .burst = 2}};

class BlkTarget {
 public:
  explicit BlkTarget(ByteReader& in)
      : options_(in.Take<uint8_t>()),
        queues_(static_cast<uint16_t>((options_ & 4) != 0 ? 2 : 1)),
        rig_(MakeDevice(), (options_ & 2) != 0 ? KickMode::kLoop : KickMode::kInline) {
    rig_.driver().Start(in);
  }

  void Play(ByteReader& in) {
    while (!in.empty()) Step(in);
    CHECK(!backend_->info().read_only || backend_->writes == 0);
    rig_.driver().Check();
  }

 private:
  std::unique_ptr<VirtioDevice> MakeDevice() {
    auto disk = std::make_unique<FakeBlkBackend>(kDiskSize, (options_ & 1) != 0);
    backend_ = disk.get();
    BlkDevice::Resources resources{
        .name = "disk0", .backend = std::move(disk), .loop = &DeviceRig::SharedLoop()};
    resources.options.queues = queues_;
    if ((options_ & 8) != 0) resources.options.limits = kFewRequests;
    auto device = *BlkDevice::Create(std::move(resources));
    device_ = device.get();
    return device;
  }

  void Step(ByteReader& in) {
    switch (in.Below(10)) {
      case 0:
      case 1:
      case 2:
        return SubmitBlkRequest(in, rig_.driver(), in.Below(queues_));
      case 3: {
        const auto mood = in.Take<uint8_t>();
        backend_->fail_read = (mood & 1) != 0;
        backend_->fail_write = (mood & 2) != 0;
        backend_->fail_flush = (mood & 4) != 0;
        backend_->cannot_discard = (mood & 8) != 0;
        backend_->cached = (mood & 16) != 0;
        backend_->hold = (mood & 32) != 0;
        return;
      }
      case 4:
        return rig_.RunLoop();
      case 5:
        return backend_->Release(in.Below(4));
      case 6: {
        if (in.Below(8) == 0) return backend_->Complete(in.Take<uint16_t>(), {});
        rig_.driver().BeforeDevice();
        device_->Drain();
        return rig_.driver().AfterDevice();
      }
      default:
        return rig_.driver().Act(in);
    }
  }

  const uint8_t options_;
  const uint16_t queues_;
  FakeBlkBackend* backend_ = nullptr;
  BlkDevice* device_ = nullptr;
  DeviceRig rig_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::FuzzMemory::Instance().Restart();
  mayfly::BlkTarget(in).Play(in);
  return 0;
}
