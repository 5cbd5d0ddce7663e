#include "devices/virtio/net/tap_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/file.h"
#include "devices/virtio/net/net_abi.h"
#include "tests/fakes/loop.h"
#include "tests/support/net_namespace.h"
#include "tests/support/program.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint16_t kType = 0x88b5;  // For experiments (IEEE 802).

// A frame of this type to everybody, with its virtio header if `header`.
Bytes Frame(size_t size, bool header) {
  const size_t start = header ? sizeof(net::Header) : 0;
  Bytes bytes(start + size, 0x5a);
  std::fill_n(bytes.begin(), start, uint8_t{0});
  std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(start), 6, uint8_t{0xff});
  bytes[start + 12] = kType >> 8;
  bytes[start + 13] = kType & 0xff;
  return bytes;
}

class TapBackendTest : public testing::Test {
 protected:
  // In a namespace of its own, with the tap tap0.
  static void WithTap(const std::function<void()>& body) {
    const bool entered = InNetNamespace([&] {
      ASSERT_TRUE(Ip("tuntap add tap0 mode tap"));
      ASSERT_TRUE(Ip("link set tap0 up"));
      body();
    });
    if (!entered) GTEST_SKIP() << "needs root for a network namespace";
  }
  std::unique_ptr<TapBackend> Open() {
    auto tap = TapBackend::Open("tap0", loop_.get());
    EXPECT_TRUE(tap) << tap.error().message();
    return tap ? std::move(*tap) : nullptr;
  }
  Error ErrorOf(const std::string& name) {
    auto tap = TapBackend::Open(name, loop_.get());
    return tap ? Error(ErrorCode::kCancelled, "no error") : tap.error();
  }
  static Result<void> Write(TapBackend& tap, Bytes bytes) {
    const iovec piece{bytes.data(), bytes.size()};
    return tap.Write({&piece, 1});
  }
  // The next frame of ours, with its header; empty if there is none.
  static Bytes Read(TapBackend& tap) {
    while (true) {
      Bytes bytes(net::kMostFrameBytes);
      const iovec piece{bytes.data(), bytes.size()};
      const auto length = tap.Read({&piece, 1});
      if (!length || *length == 0) return {};
      bytes.resize(*length);
      if (bytes[24] == kType >> 8 && bytes[25] == (kType & 0xff)) return bytes;
    }
  }
  // A descriptor attached to tap0 by other hands.
  static UniqueFd Attach(short flags) {
    UniqueFd fd = *OpenFile("/dev/net/tun", O_RDWR);
    ifreq request{};
    std::strcpy(request.ifr_name, "tap0");
    request.ifr_flags = flags;
    EXPECT_EQ(::ioctl(fd.get(), TUNSETIFF, &request), 0);
    return fd;
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
};

TEST_F(TapBackendTest, NamesThatNoInterfaceCanHaveAreRefused) {
  EXPECT_EQ(ErrorOf("a-name-that-goes-on").message(),
            "tap a-name-that-goes-on: a name of 19 bytes, but 15 are the most");
  for (const char* name : {"", ".", "..", "a/b", "tap%d", "a b", "a:1"}) {
    EXPECT_EQ(ErrorOf(name).code(), ErrorCode::kInvalidArgument) << name;
  }
}

TEST_F(TapBackendTest, MissingTapIsNamedAndNotMade) {
  EXPECT_EQ(ErrorOf("tap-none").message(),
            "tap tap-none: there is no such interface (mayfly net up makes one)");
  EXPECT_EQ(ErrorOf("tap-none").code(), ErrorCode::kNotFound);
  EXPECT_EQ(::if_nametoindex("tap-none"), 0);
}

TEST_F(TapBackendTest, InterfaceOfAnotherKindIsRefused) {
  WithTap([&] {
    EXPECT_EQ(ErrorOf("lo").message(), "tap lo: is not a tap device, or one with several queues");
  });
}

TEST_F(TapBackendTest, TapInUseIsRefused) {
  WithTap([&] {
    const auto first = Open();
    EXPECT_EQ(ErrorOf("tap0").code(), ErrorCode::kPermission);
    EXPECT_NE(ErrorOf("tap0").message().find("tap0: is in use"), std::string::npos);
  });
}

TEST_F(TapBackendTest, FramesPassBothWays) {
  WithTap([&] {
    const auto tap = Open();
    const PacketSocket host("tap0");
    ASSERT_TRUE(Write(*tap, Frame(100, true)));
    EXPECT_EQ(host.Receive(kType), Frame(100, false));
    host.Send(Frame(101, false));
    EXPECT_EQ(Read(*tap), Frame(101, true));
    EXPECT_EQ(Read(*tap), Bytes());
  });
}

TEST_F(TapBackendTest, ReadyIsCalledForAFrameAndOnlyOnceWhileNobodyReads) {
  WithTap([&] {
    const auto tap = Open();
    const PacketSocket host("tap0");
    (void)Read(*tap);
    RunReady(loop_.get());
    int ready = 0;
    tap->SetReady([&] { ++ready; });
    host.Send(Frame(100, false));
    RunReady(loop_.get());
    EXPECT_EQ(ready, 1);
    for (int i = 0; i < 100; ++i) RunReady(loop_.get());
    EXPECT_LT(ready, 10);  // The host's own stack may send a frame or two.
  });
}

TEST_F(TapBackendTest, KernelRefusesWhatIsNoFrameAndGoesOn) {
  WithTap([&] {
    const auto tap = Open();
    EXPECT_FALSE(Write(*tap, Bytes(20)));
    Bytes bad_checksum = Frame(100, true);
    StoreLe(bad_checksum, net::Header{.flags = 1, .csum_start = 0xfff0, .csum_offset = 16});
    EXPECT_FALSE(Write(*tap, bad_checksum));
    EXPECT_TRUE(Write(*tap, Frame(100, true)));
  });
}

TEST_F(TapBackendTest, TapThatIsDownRefusesFramesUntilItIsUp) {
  WithTap([&] {
    const auto tap = Open();
    ASSERT_TRUE(Ip("link set tap0 down"));
    EXPECT_FALSE(Write(*tap, Frame(100, true)));
    ASSERT_TRUE(Ip("link set tap0 up"));
    EXPECT_TRUE(Write(*tap, Frame(100, true)));
  });
}

TEST_F(TapBackendTest, DeletedTapIsAnErrorAndTellsSoOnce) {
  WithTap([&] {
    const auto tap = Open();
    int ready = 0;
    tap->SetReady([&] { ++ready; });
    ASSERT_TRUE(Ip("link del tap0"));
    for (int i = 0; i < 100; ++i) RunReady(loop_.get());
    EXPECT_GE(ready, 1);
    EXPECT_LT(ready, 10);
    EXPECT_FALSE(Write(*tap, Frame(100, true)));
    Bytes bytes(100);
    const iovec piece{bytes.data(), bytes.size()};
    EXPECT_FALSE(tap->Read({&piece, 1}));
  });
}

TEST_F(TapBackendTest, CarrierIsWhatTheHostSees) {
  WithTap([&] {
    const auto tap = Open();
    EXPECT_TRUE(tap->SetCarrier(false));
    EXPECT_NE(RunProgram({"ip", "link", "show", "tap0"}).out.find("NO-CARRIER"), std::string::npos);
    EXPECT_TRUE(tap->SetCarrier(true));
    EXPECT_NE(RunProgram({"ip", "link", "show", "tap0"}).out.find("LOWER_UP"), std::string::npos);
  });
}

TEST_F(TapBackendTest, InheritedDescriptorIsAdopted) {
  WithTap([&] {
    auto tap = TapBackend::Create(Attach(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), "fd", loop_.get());
    ASSERT_TRUE(tap) << tap.error().message();
    const PacketSocket host("tap0");
    ASSERT_TRUE(Write(**tap, Frame(100, true)));
    EXPECT_EQ(host.Receive(kType), Frame(100, false));
    EXPECT_EQ(Read(**tap), Bytes());
  });
}

TEST_F(TapBackendTest, DescriptorAttachedInAnotherWayIsRefused) {
  WithTap([&] {
    const auto tap = TapBackend::Create(Attach(IFF_TAP | IFF_NO_PI), "tap0", loop_.get());
    ASSERT_FALSE(tap);
    EXPECT_NE(tap.error().message().find("IFF_VNET_HDR"), std::string::npos);
  });
}

TEST_F(TapBackendTest, DescriptorOfSomethingElseIsRefused) {
  const auto tap = TapBackend::Create(*OpenFile("/dev/null", O_RDWR), "tap0", loop_.get());
  ASSERT_FALSE(tap);
  EXPECT_EQ(tap.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(tap.error().message().find("is not one of a tap device"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
