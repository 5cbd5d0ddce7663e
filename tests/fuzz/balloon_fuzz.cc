#include "devices/virtio/balloon/balloon.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/balloon/balloon_abi.h"
#include "tests/fuzz/device_rig.h"

// The memory balloon: page numbers of any kind, in RAM and not, chains of either direction in every
// queue, statistics of any length; and targets that the host sets meanwhile.
namespace mayfly {
namespace {

constexpr uint64_t kPages = FuzzMemory::kSize >> balloon::kPageShift;
constexpr uint64_t kFirstPage = FuzzMemory::kWindow >> balloon::kPageShift;

// A list of page numbers, most of them of the window: what is discarded elsewhere may be rings.
void SubmitNumbers(ByteReader& in, HostileDriver& driver, size_t queue) {
  std::array<uint32_t, 16> numbers{};
  const size_t count = 1 + in.Below(numbers.size());
  for (uint32_t& number : std::span(numbers).first(count)) {
    const auto choice = in.Take<uint8_t>();
    number = static_cast<uint32_t>(kFirstPage) + choice % 8;
    if (choice == 0xff) number = in.Take<uint32_t>();
    if (choice == 0xfe) number = static_cast<uint32_t>(in.Take<uint8_t>() % kPages);
  }
  // Perhaps not a whole number of numbers.
  const size_t odd = in.Below(8) == 0 ? in.Below(4) : 0;
  driver.Submit(in, queue, BytesOf(numbers).first(count * sizeof(uint32_t) - odd));
}

void SubmitStats(ByteReader& in, HostileDriver& driver) {
  constexpr size_t kStatsQueue = 2;
  std::array<balloon::Stat, 4> stats{};
  const size_t count = in.Below(stats.size() + 1);
  for (balloon::Stat& stat : std::span(stats).first(count)) {
    stat = {.tag = static_cast<uint16_t>(in.Below(12)), .value = in.Take<uint64_t>()};
  }
  driver.Submit(in, kStatsQueue, BytesOf(stats).first(count * sizeof(balloon::Stat)));
}

// Free pages as Linux reports them; where, Submit() says.
void SubmitReport(ByteReader& in, HostileDriver& driver, size_t queue) {
  constexpr uint32_t kPageSize = 1U << balloon::kPageShift;
  driver.SubmitWritable(in, queue,
                        in.Below(4) == 0 ? in.Take<uint16_t>() : kPageSize * in.Below(9));
}

void Play(ByteReader& in) {
  FuzzMemory::Instance().Restart();
  FuzzMemory::Instance().ExpectDiscards();
  const auto options = in.Take<uint8_t>();
  BalloonDevice::Resources resources{.name = "balloon",
                                     .memory = FuzzMemory::Instance().memory(),
                                     .loop = &DeviceRig::SharedLoop()};
  if ((options & 1) != 0) resources.stats_interval = std::chrono::milliseconds(1);
  auto device = *BalloonDevice::Create(resources, {.deflate_on_oom = (options & 2) != 0});
  BalloonDevice* const balloon = device.get();
  DeviceRig rig(std::move(device), (options & 4) != 0 ? KickMode::kLoop : KickMode::kInline);
  balloon->OnConfigChange([&rig] { rig.transport().ConfigChanged(); });
  rig.driver().Start(in);
  while (!in.empty()) {
    switch (in.Below(12)) {
      case 0:
      case 1:
        SubmitNumbers(in, rig.driver(), in.Below(4));
        break;
      case 2:
        SubmitStats(in, rig.driver());
        break;
      case 3:
      case 4:
        SubmitReport(in, rig.driver(), in.Below(4));
        break;
      case 5: {
        const uint64_t bytes = in.Take<uint8_t>() * 4000ULL;
        CHECK(balloon->SetTarget(bytes).has_value() == (bytes <= FuzzMemory::kSize));
        break;
      }
      case 6:
      case 7:
        rig.RunLoop();
        break;
      default:
        rig.driver().Act(in);
    }
  }
  CHECK(balloon->Save().target_pages <= kPages);
  rig.driver().Check();
}

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::Play(in);
  return 0;
}
