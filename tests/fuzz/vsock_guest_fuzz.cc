#include "base/check.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fuzz/device_rig.h"
#include "tests/fuzz/fake_host.h"
#include "tests/fuzz/vsock_packets.h"

// The socket device against a hostile guest. The hosts' ends are fakes that have data, have none,
// take it, take it in parts, end and fail as the input says. What they are handed is bounded.
namespace mayfly {
namespace {

class VsockTarget {
 public:
  explicit VsockTarget(ByteReader& in)
      : options_(in.Take<uint8_t>()),
        rig_(MakeDevice(), (options_ & 1) != 0 ? KickMode::kLoop : KickMode::kInline) {
    rig_.driver().Start(in);
  }

  void Play(ByteReader& in) {
    while (!in.empty()) Step(in);
    CHECK(host_.streams.size() <= VsockDevice::kMaxConnections);
    rig_.driver().Check();
  }

 private:
  std::unique_ptr<VirtioDevice> MakeDevice() {
    auto device = *VsockDevice::Create(
        {.name = "vsock", .loop = &DeviceRig::SharedLoop(), .services = {{kServicePort, &host_}}},
        VsockState{kFuzzGuestCid});
    vsock_ = device.get();
    return device;
  }

  void Step(ByteReader& in) {
    switch (in.Below(16)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        constexpr std::array<uint32_t, 4> kPorts{kServicePort, kServicePort, 1U << 30, 99};
        return SubmitPacket(in, rig_.driver(), kPorts[in.Below(kPorts.size())]);
      }
      case 4:
      case 5:
        return rig_.driver().SubmitWritable(in, 0, in.Take<uint16_t>() % 0x2000);
      case 6: {
        const auto shape = in.Take<uint8_t>();
        host_.mood = {(shape & 1) != 0 ? in.Take<uint16_t>() : 0ULL,
                      (shape & 2) != 0 ? in.Take<uint16_t>() : 0ULL, (shape & 4) != 0,
                      (shape & 8) != 0, (shape & 16) != 0};
        return;
      }
      case 7: {
        if (host_.streams.empty()) return;
        rig_.driver().BeforeDevice();
        host_.streams[in.Below(static_cast<unsigned>(host_.streams.size()))]->Ready();
        return rig_.driver().AfterDevice();
      }
      case 8:
        rig_.driver().BeforeDevice();
        (void)vsock_->Connect(in.Below(4), std::make_unique<FakeHost::Stream>(&host_),
                              [](uint32_t, VsockStream&) {});
        return rig_.driver().AfterDevice();
      case 9:
        return rig_.RunLoop();
      default:
        return rig_.driver().Act(in);
    }
  }

  static constexpr uint32_t kServicePort = 1024;

  const uint8_t options_;
  FakeHost host_;
  VsockDevice* vsock_ = nullptr;
  DeviceRig rig_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::FuzzMemory::Instance().Restart();
  mayfly::VsockTarget(in).Play(in);
  return 0;
}
