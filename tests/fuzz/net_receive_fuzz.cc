#include <algorithm>

#include "base/check.h"
#include "devices/virtio/net/net.h"
#include "tests/fakes/fake_net_backend.h"
#include "tests/fuzz/device_rig.h"

// Frames of any length and with any header, into whatever buffers the guest has given: none, tiny
// ones, chains that share descriptors. The wire fails when the input says so.
namespace mayfly {
namespace {

constexpr RateLimits kFewFrames{.bytes = {}, .operations = {.per_second = 1000, .burst = 2}};

void Arrive(ByteReader& in, FakeNetBackend& backend) {
  const auto shape = in.Take<uint8_t>();
  net::Header header{};
  if ((shape & 1) != 0) {
    header.flags = in.Take<uint8_t>();
    header.gso_type = static_cast<uint8_t>(in.Below(6));
    header.gso_size = in.Take<uint16_t>();
  }
  size_t length = in.Take<uint8_t>();
  if ((shape & 2) != 0) length = in.Take<uint16_t>();
  if ((shape & 4) != 0) {  // Less than a header.
    backend.waiting.emplace_back(length % sizeof(header));
    return;
  }
  static const std::vector<uint8_t> kFrame(UINT16_MAX, 0x66);
  backend.Arrive(header, std::span(kFrame).first(length));
}

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  const auto options = in.Take<uint8_t>();
  auto wire = std::make_unique<FakeNetBackend>();
  FakeNetBackend* const backend = wire.get();
  NetDevice::Resources resources{
      .name = "net0", .backend = std::move(wire), .loop = &DeviceRig::SharedLoop()};
  if ((options & 1) != 0) resources.receive_limits = kFewFrames;
  backend->fail_offloads = (options & 2) != 0;
  auto device = *NetDevice::Create(std::move(resources), NetState{.mac = {0x02, 0, 0, 0, 0, 1}});
  NetDevice* const net = device.get();
  DeviceRig rig(std::move(device), KickMode::kInline);
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(10)) {
      case 0:
      case 1:
        rig.driver().BeforeDevice();
        if (backend->waiting.size() < 64) Arrive(in, *backend);
        rig.driver().AfterDevice();
        break;
      case 2:
      case 3:
        rig.driver().SubmitWritable(in, 0, in.Take<uint16_t>() % 0x2000);
        break;
      case 4:
        backend->fail_read = in.Below(4) == 0;
        break;
      case 5:
        net->SetLink(in.Below(4) != 0);
        break;
      case 6:
        rig.RunLoop();
        break;
      case 7:
        rig.driver().Kick(0);
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
