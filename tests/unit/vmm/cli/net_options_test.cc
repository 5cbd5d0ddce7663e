#include "vmm/cli/net_options.h"
#include "vmm/config/mac_address.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

std::string FaultIn(std::string_view text) { return MessageOf(ParseNet(text)); }

Result<NetOptions> ParseJson(std::string_view text) {
  const auto document = JsonDocument::Parse(text, "n.json", ErrorCode::kInvalidArgument);
  return ParseNet(document->root());
}

NetOptions EveryOption() {
  NetOptions net;
  net.tap = "tap0";
  net.fd = 7;
  net.mac = MacAddress{0x02, 0xab, 0, 0, 0, 1};
  net.mtu = 9000;
  net.link_up = false;
  net.source_filter = true;
  net.rx = {{.per_second = 10 << 20, .burst = 1 << 20}, {.per_second = 500}};
  net.tx = {{.per_second = 2048}, {.per_second = 1, .burst = 2}};
  net.address = {"172.31.0.2", 30, "172.31.0.1", {"1.1.1.1", "8.8.8.8"}};
  return net;
}

TEST(ParseNetTest, EveryKeyIsRead) {
  const auto net = ParseNet(
      "tap=tap0,fd=7,mac=02:AB:00:00:00:01,mtu=9000,link=down,source_filter=on,rx_rate=10M:1M,"
      "rx_ops=500,tx_rate=2K,tx_ops=1:2,address=172.31.0.2/30,gateway=172.31.0.1,dns=1.1.1.1,"
      "dns=8.8.8.8");
  ASSERT_TRUE(net) << net.error().message();
  EXPECT_EQ(*net, EveryOption());
}

TEST(ParseNetTest, JsonHasTheSameKeys) {
  const auto net = ParseJson(
      R"({"tap": "tap0", "fd": 7, "mac": "02:ab:00:00:00:01", "mtu": 9000, "link": "down",
          "source_filter": true, "rx_rate": "10M:1M", "rx_ops": "500", "tx_rate": "2K",
          "tx_ops": "1:2", "address": "172.31.0.2/30", "gateway": "172.31.0.1",
          "dns": ["1.1.1.1", "8.8.8.8"]})");
  ASSERT_TRUE(net) << net.error().message();
  EXPECT_EQ(*net, EveryOption());
}

TEST(ParseNetTest, TapAloneGetsTheDefaults) {
  NetOptions expected;
  expected.tap = "tap0";
  EXPECT_EQ(*ParseNet("tap=tap0"), expected);
}

TEST(ParseNetTest, TapOrDescriptorMustBeThere) {
  EXPECT_EQ(FaultIn(""), "needs tap or fd");
  EXPECT_EQ(FaultIn("mtu=1500"), "needs tap or fd");
  EXPECT_TRUE(ParseNet("fd=3"));
}

TEST(ParseNetTest, UnknownKeysAreNamed) {
  EXPECT_TRUE(Mentions(FaultIn("tap0"), "\"tap0\": expected KEY=VALUE"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,vhost=on"), "\"vhost=on\": expected KEY=VALUE"));
  EXPECT_TRUE(Mentions(MessageOf(ParseJson(R"({"tap": "a", "ip": "b"})")), "/ip: unknown key"));
}

TEST(ParseNetTest, ValuesAreChecked) {
  EXPECT_TRUE(Mentions(FaultIn("tap="), "tap: \"\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("fd=2"), "fd: \"2\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,mtu=67"), "mtu: \"67\": expected a number from 68 to 65535"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,mtu=65536"), "mtu: \"65536\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,link=on"), "link: \"on\": expected up or down"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,rx_rate=0"), "rx_rate: \"0\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,rx_rate=1T"), "rx_rate: \"1T\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,rx_rate=99999999999G"), "rx_rate: \"99999999999G\""));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,address=172.31.0.2"), "address: \"172.31.0.2\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,address=172.31.0.2/33"), "expected an address and a prefix"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,address=172.31.2/30"), "\"172.31.2\": expected an address"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,gateway=172.31.0.1"), "need an address"));
  EXPECT_TRUE(Mentions(FaultIn("tap=a,dns=1.1.1.1,dns=1.1.1.1,dns=1.1.1.1,dns=1.1.1.1"),
                       "3 name servers at most"));
}

TEST(ParseMacTest, OnlyStationsAddressesAreTaken) {
  EXPECT_TRUE(ParseMac("02:00:00:00:00:01"));
  EXPECT_FALSE(ParseMac("03:00:00:00:00:01"));
  EXPECT_FALSE(ParseMac("00:00:00:00:00:00"));
  EXPECT_FALSE(ParseMac("02:00:00:00:00"));
  EXPECT_FALSE(ParseMac("02-00-00-00-00-01"));
  EXPECT_FALSE(ParseMac("02:00:00:00:00:0g"));
}

TEST(CheckNetsTest, OneTapForTwoDevicesIsRefused) {
  EXPECT_EQ(MessageOf(CheckNets({*ParseNet("tap=a"), *ParseNet("tap=b"), *ParseNet("tap=a")})),
            "net 2: uses the same tap as net 0");
}

TEST(CheckNetsTest, ClosedDescriptorIsRefused) {
  EXPECT_TRUE(Mentions(MessageOf(CheckNets({*ParseNet("fd=1000000")})),
                       "net 0: descriptor 1000000 is not open"));
}

TEST(KernelIpParameterTest, HasAllParts) {
  EXPECT_EQ(KernelIpParameter({"172.31.0.2", 30, "172.31.0.1", {"1.1.1.1"}}, "eth0"),
            "ip=172.31.0.2::172.31.0.1:255.255.255.252::eth0:off:1.1.1.1");
  EXPECT_EQ(KernelIpParameter({"10.0.0.2", 32, "", {}}, "eth0"),
            "ip=10.0.0.2:::255.255.255.255::eth0:off");
}

}  // namespace
}  // namespace mayfly
