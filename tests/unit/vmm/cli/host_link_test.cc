#include "vmm/cli/host_link.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"
#include "vmm/cli/cmd_net.h"

namespace mayfly {
namespace {

HostLink LinkOf(const std::string& address) {
  HostLink link;
  link.tap = "tap0";
  link.host = *Ipv4Network::Parse(address);
  return link;
}

TEST(Ipv4NetworkTest, AddressOfAHostIsTaken) {
  EXPECT_EQ(*Ipv4Network::Parse("172.31.0.1/30"), (Ipv4Network{0xac1f0001, 30}));
  EXPECT_EQ(Ipv4Network::Parse("172.31.0.1/30")->ToText(), "172.31.0.1/30");
}

TEST(Ipv4NetworkTest, AddressesThatAreNoHostsAreRefused) {
  EXPECT_FALSE(Ipv4Network::Parse("172.31.0.0/30"));
  EXPECT_FALSE(Ipv4Network::Parse("172.31.0.3/30"));
  EXPECT_FALSE(Ipv4Network::Parse("172.31.0.1/31"));
  EXPECT_FALSE(Ipv4Network::Parse("10.0.0.1/7"));
  EXPECT_FALSE(Ipv4Network::Parse("172.31.0.1"));
}

TEST(HostLinkTest, GuestGetsTheNextAddressOrTheOneBefore) {
  EXPECT_EQ(Ipv4Text(LinkOf("172.31.0.1/30").guest()), "172.31.0.2");
  EXPECT_EQ(Ipv4Text(LinkOf("172.31.0.2/30").guest()), "172.31.0.1");
  EXPECT_EQ(Ipv4Text(LinkOf("10.0.0.254/24").guest()), "10.0.0.253");
}

TEST(HostLinkTest, NetOptionIsWhatTheGuestNeeds) {
  HostLink link = LinkOf("172.31.0.1/30");
  EXPECT_EQ(link.NetOption(), "tap=tap0,address=172.31.0.2/30,gateway=172.31.0.1");
  link.mtu = 9000;
  link.bridge = "br0";
  EXPECT_EQ(link.NetOption(), "tap=tap0,mtu=9000");
}

bool HasRule(const std::string& rules, const std::string& rule) {
  return rules.find("\n    " + rule + "\n") != std::string::npos;
}

TEST(FilterRulesTest, WithoutHostAccessNothingNewReachesTheHost) {
  const std::string rule = "iifname \"tap0\" drop";
  EXPECT_TRUE(HasRule(FilterRules("tap0", "172.31.0.2", true, false), rule));
  EXPECT_FALSE(HasRule(FilterRules("tap0", "172.31.0.2", true, true), rule));
}

TEST(FilterRulesTest, WithoutNatNothingIsTranslated) {
  const std::string rule = "ip saddr 172.31.0.2 oifname != \"tap0\" masquerade";
  EXPECT_TRUE(HasRule(FilterRules("tap0", "172.31.0.2", true, false), rule));
  EXPECT_FALSE(HasRule(FilterRules("tap0", "172.31.0.2", false, false), rule));
}

TEST(PrepareLinkTest, DefaultsAreAPointToPointLinkWithNat) {
  NetArguments arguments;
  arguments.tap = "tap0";
  const auto link = PrepareLink(arguments);
  ASSERT_TRUE(link) << link.error().message();
  EXPECT_EQ(link->interface(), "tap0");
  EXPECT_EQ(link->host.ToText(), "172.31.0.1/30");
  EXPECT_TRUE(link->nat);
  EXPECT_FALSE(link->host_access);
}

TEST(PrepareLinkTest, ValuesAreChecked) {
  const auto fault = [](auto change) {
    NetArguments arguments;
    arguments.tap = "tap0";
    change(arguments);
    return MessageOf(PrepareLink(arguments));
  };
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.tap = "sixteen-letters-"; }), "tap \"sixteen"));
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.tap = "a\";x"; }), "expected 1 to 15 of the"));
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.bridge = "-b"; }), "bridge \"-b\": expected"));
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.netns = "../../etc/x"; }), "netns \"../../etc/x\""));
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.user = "a b"; }), "user \"a b\": expected"));
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.address = "10.0.0.0/8"; }), "--address: \"10.0.0.0"));
  EXPECT_TRUE(Mentions(fault([](auto& a) { a.mtu = "67"; }), "--mtu: \"67\": expected"));
}

}  // namespace
}  // namespace mayfly
