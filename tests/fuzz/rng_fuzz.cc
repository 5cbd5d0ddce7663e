#include <algorithm>

#include "devices/virtio/rng/rng.h"
#include "tests/fuzz/device_rig.h"

// The entropy device; the source fails when the input says so.
namespace mayfly {
namespace {

class FakeEntropy final : public EntropySource {
 public:
  explicit FakeEntropy(const bool* fails) : fails_(fails) {}
  Result<void> Fill(std::span<uint8_t> out) override {
    if (*fails_) return Fail(ErrorCode::kHost, "entropy: injected");
    std::ranges::fill(out, uint8_t{0x5a});
    return {};
  }

 private:
  const bool* fails_;
};

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  bool fails = false;
  DeviceRig rig(RngDevice::Create({"rng", std::make_unique<FakeEntropy>(&fails), nullptr}),
                KickMode::kInline);
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(8)) {
      case 0:
        rig.driver().SubmitWritable(in, 0, in.Take<uint8_t>());
        break;
      case 1:
        rig.RunLoop();
        break;
      case 2:
        fails = in.Below(4) == 0;
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
