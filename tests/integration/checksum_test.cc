#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "base/bytes.h"
#include "base/file.h"
#include "base/mutex.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_writer.h"
#include "tests/integration/machine_fixture.h"
#include "tests/support/memory_use.h"
#include "tests/support/net_namespace.h"
#include "vmm/control/control_channel.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;
using Clock = ControlChannel::Clock;

constexpr uint16_t kType = 0x88b5;
constexpr size_t kEthernet = 14;
constexpr size_t kBlock = 4096;
constexpr uint64_t kBlocks = 256;
constexpr size_t kMessage = 3000;

// As the guest's fill().
Bytes Pattern(uint64_t number, size_t length) {
  Bytes bytes(length);
  StoreLe(std::span(bytes), number);
  uint64_t state = number;
  for (size_t i = sizeof(number); i < length; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    bytes[i] = static_cast<uint8_t>(state >> 56);
  }
  return bytes;
}

// The guest "checksum" and its partners on the host: what it sends is compared, number by number,
// and answered. The test saves and restores the machine in between.
class ChecksumTest : public MachineFixture {
 protected:
  MachineConfig Config() {
    MachineConfig config = ConfigFor("checksum", "");
    config.memory_bytes = 64 << 20;
    config.disks.push_back({PathFor("disk"), false});
    NetConfig net;
    net.tap = "tap0";
    net.fd = *tap_.Duplicate();
    config.nets.push_back(std::move(net));
    config.vsock = VsockConfig{3, "", channel_.get()};
    return config;
  }

  void OpenTap() {
    tap_ = *OpenFile("/dev/net/tun", O_RDWR | O_NONBLOCK);
    ifreq request{};
    std::strcpy(request.ifr_name, "tap0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    ASSERT_EQ(::ioctl(tap_.get(), TUNSETIFF, &request), 0);
    ASSERT_TRUE(Ip("link set tap0 up"));
  }

  // Compares frames and sends them back, until one is not what it should be or the guest has ended.
  void EchoFrames(const PacketSocket& socket) {
    while (!ended_) {
      Bytes frame = socket.Receive(kType);
      const bool from_guest = frame.size() > kEthernet && frame[6] == 0x02;
      if (!from_guest) continue;
      const Bytes expected = Pattern(frames_ + 1, frame.size() - kEthernet);
      if (!std::equal(expected.begin(), expected.end(), frame.begin() + kEthernet)) {
        wrong_ = "frame " + std::to_string(frames_ + 1) + " is not what came";
        return;
      }
      ++frames_;
      std::fill_n(frame.begin() + 6, 6, uint8_t{0x04});
      socket.Send(frame);
    }
  }

  // The same with messages; the last one is answered with nothing.
  void AnswerMessages() {
    bool last = false;
    while (!last) {
      MutexLock lock(mutex_);
      const auto message = channel_->Receive(Clock::now() + std::chrono::milliseconds(1));
      if (!message && message.error().code() == ErrorCode::kTimeout) {
        if (ended_ || (stop_ && !wrong_.empty())) return;
        continue;
      }
      if (!message) {
        wrong_ = message.error().message();
        return;
      }
      if (message->payload != Pattern(messages_ + 1, kMessage)) {
        wrong_ = "message " + std::to_string(messages_ + 1) + " is not what came";
        return;
      }
      ++messages_;
      last = stop_;
      const Bytes answer = last ? Bytes() : message->payload;
      IgnoreFailure(channel_->Send(control::FrameType::kChunk, message->invocation, answer));
    }
  }

  // Saves the machine where it is and goes on with another, unless a message is half-way: a
  // snapshot is for moments when none is.
  bool MoveOn(MemoryWay way) {
    MutexLock lock(mutex_);
    machine_->Pause();
    if (!channel_->quiet()) {
      machine_->Resume();
      return false;
    }
    const auto written = WriteSnapshot(PathFor("snap"), Manifest{}, machine_->Save().value(),
                                       machine_->memory(), nullptr);
    EXPECT_TRUE(written) << written.error().message();
    machine_.reset();
    channel_ = std::make_unique<ControlChannel>();
    auto snapshot = *Snapshot::Open(PathFor("snap"));
    auto memory = RestoreMemory(snapshot.TakeMemory(), {way});
    EXPECT_TRUE(memory) << memory.error().message();
    auto machine =
        MachineBuilder(Config(), nullptr).Restore(snapshot.TakeState(), std::move(*memory));
    EXPECT_TRUE(machine) << machine.error().message();
    machine_ = std::move(*machine);
    EXPECT_TRUE(machine_->SetRestorePage(NewLife().value()));
    machine_->Resume();
    std::filesystem::remove_all(PathFor("snap"));
    return true;
  }

  void ExpectDiskHoldsTheLastRounds(uint64_t rounds) const {
    const std::string disk = ReadBack("disk");
    const uint64_t first = rounds > kBlocks ? rounds - kBlocks + 1 : 1;
    for (uint64_t round = first; round <= rounds; ++round) {
      const Bytes expected = Pattern(round, kBlock);
      ASSERT_EQ(std::memcmp(disk.data() + round % kBlocks * kBlock, expected.data(), kBlock), 0)
          << round;
    }
  }

  UniqueFd tap_;
  Mutex mutex_;  // For channel_, and for what its partner does with it.
  std::unique_ptr<ControlChannel> channel_ = std::make_unique<ControlChannel>();
  std::atomic<bool> stop_{false};   // The guest is to end.
  std::atomic<bool> ended_{false};  // It has.
  std::atomic<uint64_t> frames_{0};
  std::atomic<uint64_t> messages_{0};
  std::string wrong_;
};

TEST_F(ChecksumTest, NothingIsLostOrDoubledByAHundredSnapshotsAtRandomMoments) {
  const bool entered = InNetNamespace([&] {
    OpenTap();
    WriteFile("disk", std::string(kBlocks * kBlock, '\0'));
    // Before the guest runs: nobody would hear its first frame, and it would wait for ever.
    const PacketSocket socket("tap0");
    Start(Config());
    std::thread network([&] { EchoFrames(socket); });
    std::thread talker([this] { AnswerMessages(); });

    std::seed_seq seed{8};  // The same moments each time.
    std::mt19937 random(seed);
    const uint64_t wanted = CountFromEnvironment("MAYFLY_TEST_SNAPSHOTS", 100);
    constexpr std::array kWays{MemoryWay::kMap, MemoryWay::kUffd, MemoryWay::kEager};
    uint64_t done = 0;
    for (uint64_t tries = 0; done < wanted && tries < 100 * wanted; ++tries) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 10'000));
      if (MoveOn(kWays[done % kWays.size()])) ++done;
    }
    const uint64_t before = messages_;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop_ = true;

    EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
    ended_ = true;
    PacketSocket("tap0").Send(Bytes{0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 0x88, 0xb5});
    talker.join();
    network.join();
    EXPECT_EQ(done, wanted);
    EXPECT_GT(messages_, before);
    EXPECT_EQ(wrong_, "");
    EXPECT_EQ(output(), "PASSED\n");
    EXPECT_EQ(frames_, messages_);
    ExpectDiskHoldsTheLastRounds(messages_);
    std::printf("%llu snapshots, %llu rounds\n", static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(messages_));
    machine_.reset();
  });
  if (!entered) GTEST_SKIP() << "needs root for a network namespace";
}

}  // namespace
}  // namespace mayfly
