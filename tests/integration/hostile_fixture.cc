#include "tests/integration/hostile_fixture.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "tests/support/net_namespace.h"
#include "vmm/boot/cpu_state.h"

namespace mayfly {
namespace {

using std::chrono::microseconds;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kMostCase{60};
// What the guest prints when the case is done and all other devices have worked.
constexpr std::string_view kPassed = "OTHERS WORK\n";

// Of the suite so far.
std::vector<microseconds> pauses;
std::vector<microseconds> stops;

// Where guests/start.S has the second vCPU's entry. A guest cannot start it by itself where KVM
// does not deliver INIT and SIPI.
constexpr GuestAddress kSecondEntry{0x100010};

void StartSecondVcpu(Machine::Parts& parts) {
  const Vcpu& second = parts.vcpus.at(1);
  const LoadedKernel at_entry{BootProtocol::kPvh, kSecondEntry, {}, 0, {}};
  ASSERT_TRUE(SetBootState(second, at_entry));
  ASSERT_TRUE(second.SetMpState(KVM_MP_STATE_RUNNABLE));
}

microseconds Since(Clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(Clock::now() - start);
}

std::chrono::milliseconds CpuTime() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + microseconds(time.tv_usec);
  };
  return std::chrono::duration_cast<std::chrono::milliseconds>(of(usage.ru_utime) +
                                                               of(usage.ru_stime));
}

void Print(std::string_view what, std::vector<microseconds> times) {
  if (times.empty()) return;
  std::ranges::sort(times);
  fmt::print("{} of {} machines: median {} us, longest {} us\n", what, times.size(),
             times[times.size() / 2].count(), times.back().count());
}

}  // namespace

void HostileFixture::TearDownTestSuite() {
  Print("pause", std::move(pauses));
  Print("stop", std::move(stops));
  pauses.clear();
  stops.clear();
}

MachineConfig HostileFixture::HostileConfig(const std::string& command_line) {
  std::string disk;
  for (char sector = 0; sector < 8; ++sector) disk += std::string(512, sector);
  MachineConfig config = ConfigFor("hostile", command_line);
  config.memory_bytes = 512ULL << 20;
  for (const char* name : {"disk.img", "other.img"}) {
    WriteFile(name, disk);
    config.disks.push_back({PathFor(name), false, UniqueFd()});
  }
  config.vsock.emplace();
  config.rng = true;
  return config;
}

void HostileFixture::Abuse(std::string_view hostile_case, std::string_view device) {
  WithDevice(device, [&] {
    ASSERT_NO_FATAL_FAILURE(Start(ConfigWith(device, hostile_case)));
    ExpectVerdict();
  });
}

void HostileFixture::AbuseFromTwoVcpus(std::string_view hostile_case, std::string_view device) {
  WithDevice(device, [&] {
    MachineConfig config = ConfigWith(device, hostile_case);
    config.vcpu_count = 2;
    ASSERT_NO_FATAL_FAILURE(Start(std::move(config), StartSecondVcpu));
    ExpectVerdict();
  });
}

void HostileFixture::WithDevice(std::string_view device, const std::function<void()>& body) {
  if (device != "net") return body();
  const bool entered = InNetNamespace([&] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap") && Ip("link set tap0 up"));
    body();
    machine_.reset();
  });
  if (!entered) GTEST_SKIP() << "needs root for a network namespace";
}

MachineConfig HostileFixture::ConfigWith(std::string_view device, std::string_view hostile_case) {
  MachineConfig config = HostileConfig(fmt::format("{} {}", hostile_case, device));
  if (device == "net") config.nets.emplace_back().tap = "tap0";
  return config;
}

std::chrono::milliseconds HostileFixture::CpuTimeIn(std::chrono::milliseconds time) {
  const std::chrono::milliseconds before = CpuTime();
  std::this_thread::sleep_for(time);
  return CpuTime() - before;
}

void HostileFixture::ExpectVerdict() {
  EXPECT_TRUE(WaitForVerdict()) << output();
  PauseAndStop();
}

bool HostileFixture::WaitForVerdict() const {
  const Clock::time_point start = Clock::now();
  while (!machine_->end() && Since(start) < kMostCase) {
    if (output().find(kPassed) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

void HostileFixture::PauseAndStop() {
  Clock::time_point start = Clock::now();
  machine_->Pause();
  pauses.push_back(Since(start));
  machine_->Resume();
  start = Clock::now();
  machine_->Stop();
  stops.push_back(Since(start));
  EXPECT_LT(pauses.back(), kMostPause);
  EXPECT_LT(stops.back(), kMostPause);
}

}  // namespace mayfly
