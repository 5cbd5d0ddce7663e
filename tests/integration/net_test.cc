#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "tests/integration/machine_fixture.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint16_t kType = 0x88b5;  // For experiments (IEEE 802).
constexpr size_t kMark = 14;

// A machine with a network device on tap0, in a network namespace that goes with the test.
class NetMachineTest : public MachineFixture {
 protected:
  void WithTap(const std::function<void()>& body) {
    const bool entered = InNetNamespace([&] {
      ASSERT_TRUE(Ip("tuntap add tap0 mode tap") && Ip("link set tap0 up"));
      body();
      machine_.reset();
    });
    if (!entered) GTEST_SKIP() << "needs root for a network namespace";
  }

  MachineConfig ConfigWithNet(const std::string& command_line) {
    MachineConfig config = ConfigFor("net", command_line);
    NetConfig net;
    net.tap = "tap0";
    net.mac = MacAddress{0x02, 0, 0, 0, 0, 1};
    net.mtu = 1400;
    config.nets.push_back(std::move(net));
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    serial_read_.Reset(ends[0]);
    serial_write_.Reset(ends[1]);
    config.serial_input = serial_read_.get();
    return config;
  }
  void StartReady(MachineConfig config) {
    Start(std::move(config));
    ASSERT_TRUE(WaitForOutput("ready\n")) << output();
  }
  void TellGuestToGoOn() const { EXPECT_EQ(::write(serial_write_.get(), "x", 1), 1); }
  void ExpectPassed() {
    EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
    EXPECT_NE(output().find("PASSED\n"), std::string::npos) << output();
  }

  static Bytes Frame(char mark, size_t size = 200) {
    Bytes frame(size, 0x5a);
    std::fill_n(frame.begin(), 6, uint8_t{0xff});
    std::fill_n(frame.begin() + 6, 6, uint8_t{0x04});
    frame[12] = kType >> 8;
    frame[13] = kType & 0xff;
    frame[kMark] = static_cast<uint8_t>(mark);
    return frame;
  }
  // The guest's echo of a frame, behind the frame itself, which the socket sees too.
  static Bytes EchoOf(const PacketSocket& host, const Bytes& frame) {
    host.Send(frame);
    Bytes back = host.Receive(kType);
    if (back == frame) back = host.Receive(kType);
    return back;
  }
  static Bytes Swapped(Bytes frame) {
    std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
    return frame;
  }
  static void ExpectEcho(const PacketSocket& host, const Bytes& frame) {
    EXPECT_TRUE(EchoOf(host, frame) == Swapped(frame));
  }
  // A metric of net0's.
  [[nodiscard]] uint64_t Metric(const std::string& name) const {
    const std::string text = machine_->metrics().Prometheus();
    const std::string line = "\nmayfly_net_" + name + "{device=\"net0\"} ";
    const size_t at = text.find(line);
    return at == std::string::npos ? UINT64_MAX : std::stoull(text.substr(at + line.size()));
  }
  // The processor time of the machine's I/O thread, in clock ticks (10 ms each).
  static long IoTicks() {
    long ticks = -1;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream file(task.path() / "stat");
      std::string stat{std::istreambuf_iterator<char>(file), {}};
      if (stat.find("(io)") == std::string::npos) continue;
      long user = 0;
      long system = 0;
      (void)std::sscanf(stat.c_str() + stat.rfind(')'),  // NOLINT(cert-err34-c)
                        ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
      ticks = user + system;
    }
    return ticks;
  }

 private:
  UniqueFd serial_read_;
  UniqueFd serial_write_;
};

TEST_F(NetMachineTest, FramesPassBothWays) {
  WithTap([&] {
    StartReady(ConfigWithNet("echo"));
    const PacketSocket host("tap0");
    ExpectEcho(host, Frame('a', 60));
    ExpectEcho(host, Frame('b', 1414));
    for (int i = 0; i < 100; ++i) ExpectEcho(host, Frame('c', 64));
    ExpectEcho(host, Frame('Q'));
    ExpectPassed();
    EXPECT_EQ(Metric("tx_frames_total"), 103);
    EXPECT_EQ(Metric("tx_errors_total") + Metric("rx_errors_total"), 0);
  });
}

TEST_F(NetMachineTest, InheritedDescriptorWorksLikeAName) {
  WithTap([&] {
    MachineConfig config = ConfigWithNet("echo");
    config.nets[0].fd = *OpenFile("/dev/net/tun", O_RDWR);
    ifreq request{};
    std::strcpy(request.ifr_name, "tap0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    ASSERT_EQ(::ioctl(config.nets[0].fd.get(), TUNSETIFF, &request), 0);
    StartReady(std::move(config));
    ExpectEcho(PacketSocket("tap0"), Frame('Q'));
    ExpectPassed();
  });
}

// Case 36.
TEST_F(NetMachineTest, FloodWithoutBuffersCostsNothingAndEverythingWorksAfterIt) {
  WithTap([&] {
    StartReady(ConfigWithNet("starve"));
    const PacketSocket host("tap0");
    const long before = IoTicks();
    for (int i = 0; i < 20000; ++i) host.Send(Frame('F'));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const long after_flood = IoTicks();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_LE(after_flood - before, 20) << "the I/O thread was busy during the flood";
    EXPECT_LE(IoTicks() - after_flood, 2) << "the I/O thread is busy after the flood";
    EXPECT_EQ(Metric("rx_frames_total"), 0);

    TellGuestToGoOn();
    // Until there is room for it behind what the tap held back of the flood.
    for (int i = 0; i < 100 && !machine_->end(); ++i) {
      host.Send(Frame('Q'));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ExpectPassed();
    EXPECT_GE(Metric("rx_frames_total"), 100);
  });
}

// Cases 34, 35.
TEST_F(NetMachineTest, MalformedFramesAreDroppedAndHonestOnesPass) {
  WithTap([&] {
    StartReady(ConfigWithNet("malformed"));
    const PacketSocket host("tap0");
    TellGuestToGoOn();
    const Bytes first = host.Receive(kType);
    const Bytes second = host.Receive(kType);
    ASSERT_EQ(first.size(), 200 - 12);
    ASSERT_EQ(second.size(), 201 - 12);
    EXPECT_EQ(first[kMark], 'H');
    EXPECT_EQ(second[kMark], 'H');
    ExpectPassed();
    // Sizes, and headers that the device itself knows to be wrong; the kernel refuses the rest.
    EXPECT_EQ(Metric("tx_malformed_total"), 7 + 4 + 1);
    EXPECT_EQ(Metric("tx_errors_total"), 2);
    EXPECT_EQ(Metric("tx_frames_total"), 2);
  });
}

// Cases 1, 4, 5, 6, 8, 15, 18, 36.
TEST_F(NetMachineTest, BrokenRingsNeedAResetAndAllIsWell) {
  WithTap([&] {
    StartReady(ConfigWithNet("rings"));
    ExpectEcho(PacketSocket("tap0"), Frame('Q'));
    ExpectPassed();
  });
}

// Case 37.
TEST_F(NetMachineTest, GuestOutlivesItsTap) {
  WithTap([&] {
    StartReady(ConfigWithNet("send-on"));
    EXPECT_FALSE(PacketSocket("tap0").Receive(kType).empty());
    ASSERT_TRUE(Ip("link del tap0"));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    TellGuestToGoOn();
    ExpectPassed();
    EXPECT_GT(Metric("tx_errors_total"), 0);
  });
}

// Case 37.
TEST_F(NetMachineTest, TapThatWasDownWorksWhenItIsUpAgain) {
  WithTap([&] {
    StartReady(ConfigWithNet("echo"));
    ExpectEcho(PacketSocket("tap0"), Frame('a'));
    ASSERT_TRUE(Ip("link set tap0 down") && Ip("link set tap0 up"));
    ExpectEcho(PacketSocket("tap0"), Frame('Q'));
    ExpectPassed();
  });
}

TEST_F(NetMachineTest, IdleMachineWithoutATapUsesNoProcessorTime) {
  WithTap([&] {
    StartReady(ConfigWithNet("starve"));
    ASSERT_TRUE(Ip("link del tap0"));
    const long before = IoTicks();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_LE(IoTicks() - before, 2);
  });
}

TEST_F(NetMachineTest, LinkIsControlledFromTheHost) {
  WithTap([&] {
    StartReady(ConfigWithNet("link"));
    const PacketSocket host("tap0");
    EXPECT_FALSE(machine_->SetLink(1, false));
    EXPECT_TRUE(machine_->SetLink(0, false));
    ASSERT_TRUE(WaitForOutput("down\n"));
    EXPECT_TRUE(machine_->SetLink(0, true));
    EXPECT_EQ(host.Receive(kType).at(kMark), 'H');
    ExpectPassed();
    EXPECT_EQ(Metric("tx_dropped_total"), 1);
  });
}

// Case 38.
TEST_F(NetMachineTest, FramesWithAnothersAddressAreFiltered) {
  WithTap([&] {
    MachineConfig config = ConfigWithNet("echo");
    config.nets[0].filter_source = true;
    StartReady(std::move(config));
    const PacketSocket host("tap0");
    // The echo of a frame that was sent to everybody comes from everybody.
    host.Send(Frame('Q'));
    ExpectPassed();
    EXPECT_EQ(Metric("tx_filtered_total"), 1);
    EXPECT_EQ(Metric("tx_frames_total"), 0);
  });
}

}  // namespace
}  // namespace mayfly
