#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/open_backend.h"
#include "tests/fuzz/blk_requests.h"
#include "tests/fuzz/device_rig.h"

// The block device on a real file, through each engine. The file becomes shorter and longer when
// the input says so.
namespace mayfly {
namespace {

constexpr off_t kDiskSize = off_t{8} * 1024;

int DiskFile() {
  static const int fd = [] {
    const int file = ::memfd_create("disk", MFD_CLOEXEC);
    CHECK(::ftruncate(file, kDiskSize) == 0);
    return file;
  }();
  return fd;
}

// An engine that outlives its device, because to make one takes longer than an execution.
class LastingBackend final : public BlkBackend {
 public:
  explicit LastingBackend(BlkBackend* engine) : engine_(engine) {}
  ~LastingBackend() override {
    engine_->Drain();
    std::vector<BlkCompletion> completions;
    engine_->Take(&completions);
  }
  LastingBackend(const LastingBackend&) = delete;
  LastingBackend& operator=(const LastingBackend&) = delete;

  [[nodiscard]] const DiskInfo& info() const override { return engine_->info(); }
  bool ReadNow(std::span<const iovec> to, uint64_t offset) override {
    return engine_->ReadNow(to, offset);
  }
  void Submit(BlkRequest request) override { engine_->Submit(std::move(request)); }
  void Commit() override { engine_->Commit(); }
  [[nodiscard]] int completion_fd() const override { return engine_->completion_fd(); }
  void Take(std::vector<BlkCompletion>* to) override { engine_->Take(to); }
  void Drain() override { engine_->Drain(); }

 private:
  BlkBackend* const engine_;
};

std::unique_ptr<BlkBackend> OpenDisk(bool best) {
  static const auto open = [](BlkEngine engine) {
    return *OpenBlkBackend(
        {.path = "disk", .read_only = false, .fd = UniqueFd(::dup(DiskFile())), .engine = engine});
  };
  static const auto kBest = open(BlkEngine::kBest);
  static const auto kThread = open(BlkEngine::kThread);
  return std::make_unique<LastingBackend>(best ? kBest.get() : kThread.get());
}

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  auto disk = OpenDisk(in.Flag());
  CHECK(::ftruncate(DiskFile(), kDiskSize) == 0);
  BlkDevice::Resources resources{
      .name = "disk0", .backend = std::move(disk), .loop = &DeviceRig::SharedLoop()};
  auto device = *BlkDevice::Create(std::move(resources));
  BlkDevice* const blk = device.get();
  DeviceRig rig(std::move(device), KickMode::kInline);
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(8)) {
      case 0:
      case 1:
      case 2:
        SubmitBlkRequest(in, rig.driver(), 0);
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
  rig.driver().BeforeDevice();
  blk->Drain();
  rig.driver().AfterDevice();
  rig.driver().Check();
}

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::Play(in);
  return 0;
}
