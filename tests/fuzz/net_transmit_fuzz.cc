#include "base/check.h"
#include "devices/virtio/net/net.h"
#include "tests/fakes/fake_net_backend.h"
#include "tests/fuzz/device_rig.h"

// What a guest sends: headers and frames of any content and framing. What comes out of the device
// is a frame with a header that the host's kernel may rely on, and with the guest's own address if
// the device filters.
namespace mayfly {
namespace {

constexpr MacAddress kMac{0x02, 0, 0, 0, 0, 1};
constexpr RateLimits kFewFrames{.bytes = {}, .operations = {.per_second = 1000, .burst = 2}};

void SubmitFrame(ByteReader& in, HostileDriver& driver) {
  constexpr size_t kTransmitQueue = 1;
  struct {
    net::Header header;
    net::EthernetHeader ethernet;
  } start{};
  const auto shape = in.Take<uint8_t>();
  if ((shape & 1) != 0) {
    constexpr std::array<uint8_t, 4> kGso{net::kGsoNone, net::kGsoTcp4, net::kGsoTcp6, 3};
    start.header = {.flags = static_cast<uint8_t>(in.Below(4)),
                    .gso_type = kGso[in.Below(4)],
                    .hdr_len = in.Take<uint16_t>(),
                    .gso_size = in.Take<uint16_t>(),
                    .csum_start = in.Take<uint16_t>(),
                    .csum_offset = in.Take<uint16_t>(),
                    .num_buffers = in.Take<uint8_t>()};
  }
  start.ethernet.source = (shape & 2) != 0 ? in.Take<MacAddress>() : kMac;
  const auto bytes = BytesOf(start);
  driver.Submit(in, kTransmitQueue, (shape & 4) != 0 ? bytes.first(in.Below(27)) : bytes);
}

void CheckSent(const std::vector<uint8_t>& frame, bool filters) {
  CHECK(frame.size() >= sizeof(net::Header) + sizeof(net::EthernetHeader));
  CHECK(frame.size() <= net::kMostFrameBytes);
  const auto header = LoadLe<net::Header>(frame);
  CHECK((header.flags & ~net::kFlagNeedsCsum) == 0 && header.hdr_len == 0);
  CHECK(header.gso_type == net::kGsoNone || (header.flags != 0 && header.gso_size != 0));
  CHECK(header.gso_type == net::kGsoNone || header.gso_type == net::kGsoTcp4 ||
        header.gso_type == net::kGsoTcp6);
  const auto ethernet = LoadLe<net::EthernetHeader>(std::span(frame).subspan(sizeof(header)));
  CHECK(!filters || ethernet.source == kMac);
}

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  const auto options = in.Take<uint8_t>();
  const bool filters = (options & 1) != 0;
  auto wire = std::make_unique<FakeNetBackend>();
  FakeNetBackend* const backend = wire.get();
  NetDevice::Resources resources{.name = "net0",
                                 .backend = std::move(wire),
                                 .loop = &DeviceRig::SharedLoop(),
                                 .filter_source = filters};
  if ((options & 2) != 0) resources.transmit_limits = kFewFrames;
  auto device = *NetDevice::Create(std::move(resources), NetState{.mac = kMac});
  NetDevice* const net = device.get();
  DeviceRig rig(std::move(device), (options & 4) != 0 ? KickMode::kLoop : KickMode::kInline);
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(8)) {
      case 0:
      case 1:
      case 2:
        SubmitFrame(in, rig.driver());
        break;
      case 3:
        backend->fail_write = in.Below(4) == 0;
        break;
      case 4:
        net->SetLink(in.Below(4) != 0);
        break;
      case 5:
        rig.RunLoop();
        break;
      default:
        rig.driver().Act(in);
    }
    for (const auto& frame : backend->sent) CheckSent(frame, filters);
    backend->sent.clear();
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
