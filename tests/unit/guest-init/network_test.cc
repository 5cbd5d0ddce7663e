#include "guest-init/network.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/net_namespace.h"
#include "tests/support/program.h"

namespace mayfly::init {
namespace {

NetworkInterface Interface() {
  NetworkInterface interface;
  interface.name = "eth0";
  interface.address = "172.31.0.2";
  interface.prefix = 30;
  interface.gateway = "172.31.0.1";
  return interface;
}

std::string Shown(const std::string& what) {
  return RunProgram({"ip", "-4", what, "show", "dev", "eth0"}).out;
}

// In a namespace with an interface eth0.
class ConfigureInterfacesTest : public testing::Test {
 protected:
  static void WithInterface(const std::function<void()>& body) {
    const bool entered = InNetNamespace([&] {
      ASSERT_TRUE(Ip("tuntap add eth0 mode tap"));
      body();
    });
    if (!entered) GTEST_SKIP() << "needs root for a network namespace";
  }
};

TEST_F(ConfigureInterfacesTest, AddressAndDefaultRouteAreSet) {
  WithInterface([] {
    const auto configured = ConfigureInterfaces({Interface()});
    ASSERT_TRUE(configured) << configured.error().message();
    EXPECT_NE(Shown("addr").find("inet 172.31.0.2/30"), std::string::npos) << Shown("addr");
    EXPECT_NE(Shown("addr").find("UP"), std::string::npos);
    EXPECT_NE(Shown("route").find("default via 172.31.0.1"), std::string::npos) << Shown("route");
  });
}

TEST_F(ConfigureInterfacesTest, LaterAddressAndRouteReplaceTheFirst) {
  WithInterface([] {
    NetworkInterface interface = Interface();
    interface.prefix = 29;
    ASSERT_TRUE(ConfigureInterfaces({interface}));
    interface.gateway = "172.31.0.3";
    ASSERT_TRUE(ConfigureInterfaces({interface}));
    EXPECT_EQ(Shown("route").find("172.31.0.1"), std::string::npos) << Shown("route");
    interface.address = "172.31.0.10";
    interface.gateway = "172.31.0.9";
    ASSERT_TRUE(ConfigureInterfaces({interface}));
    EXPECT_EQ(Shown("addr").find("172.31.0.2/29"), std::string::npos) << Shown("addr");
    EXPECT_NE(Shown("addr").find("172.31.0.10/29"), std::string::npos) << Shown("addr");
    EXPECT_NE(Shown("route").find("default via 172.31.0.9"), std::string::npos) << Shown("route");
  });
}

TEST_F(ConfigureInterfacesTest, GatewaysHardwareAddressIsForgotten) {
  WithInterface([] {
    ASSERT_TRUE(ConfigureInterfaces({Interface()}));
    ASSERT_TRUE(Ip("neigh add 172.31.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud reachable"));
    ASSERT_TRUE(ConfigureInterfaces({Interface()}));
    EXPECT_EQ(Shown("neigh").find("02:00:00:00:00:01"), std::string::npos) << Shown("neigh");
  });
}

TEST_F(ConfigureInterfacesTest, InterfaceThatIsNotThereIsNamed) {
  WithInterface([] {
    NetworkInterface interface = Interface();
    interface.name = "eth1";
    const auto configured = ConfigureInterfaces({interface});
    ASSERT_FALSE(configured);
    EXPECT_EQ(configured.error().message(), "eth1: set the address: No such device");
  });
}

TEST_F(ConfigureInterfacesTest, GatewayOutsideOfTheNetworkIsAnError) {
  WithInterface([] {
    NetworkInterface interface = Interface();
    interface.gateway = "10.0.0.1";
    const auto configured = ConfigureInterfaces({interface});
    ASSERT_FALSE(configured);
    EXPECT_NE(configured.error().message().find("default route"), std::string::npos);
  });
}

TEST_F(ConfigureInterfacesTest, WhatIsNoAddressIsRefused) {
  NetworkInterface interface = Interface();
  interface.address = "172.31.0";
  EXPECT_FALSE(ConfigureInterfaces({interface}));
  interface = Interface();
  interface.prefix = 0;
  EXPECT_FALSE(ConfigureInterfaces({interface}));
  interface.prefix = 33;
  EXPECT_FALSE(ConfigureInterfaces({interface}));
  interface = Interface();
  interface.name = "a-name-that-goes-on";
  EXPECT_FALSE(ConfigureInterfaces({interface}));
}

class WriteResolvConfTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mayfly-resolv.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    root_ = directory_ + "/root";
    std::filesystem::create_directory(root_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static std::vector<NetworkInterface> Servers() {
    NetworkInterface interface = Interface();
    interface.dns = {"1.1.1.1", "8.8.8.8"};
    return {interface};
  }
  static std::string Contents(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string directory_;
  std::string root_;
};

TEST_F(WriteResolvConfTest, NamesTheServers) {
  ASSERT_TRUE(WriteResolvConf(root_, Servers()));
  EXPECT_EQ(Contents(root_ + "/etc/resolv.conf"), "nameserver 1.1.1.1\nnameserver 8.8.8.8\n");
}

TEST_F(WriteResolvConfTest, WithoutServersTheImagesFileStays) {
  ASSERT_TRUE(WriteResolvConf(root_, {Interface()}));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/etc"));
}

TEST_F(WriteResolvConfTest, LinksOfTheImageLeadNowhereElse) {
  std::ofstream(directory_ + "/precious") << "precious";
  std::filesystem::create_directory(root_ + "/etc");
  std::filesystem::create_symlink(directory_ + "/precious", root_ + "/etc/resolv.conf");
  ASSERT_TRUE(WriteResolvConf(root_, Servers()));
  EXPECT_EQ(Contents(directory_ + "/precious"), "precious");
  EXPECT_EQ(Contents(root_ + "/etc/resolv.conf"), "nameserver 1.1.1.1\nnameserver 8.8.8.8\n");
}

TEST_F(WriteResolvConfTest, DirectoryThatIsALinkIsFollowedInsideOfTheRootOnly) {
  std::filesystem::create_directory(directory_ + "/outside");
  std::filesystem::create_symlink(directory_ + "/outside", root_ + "/etc");
  EXPECT_FALSE(WriteResolvConf(root_, Servers()));
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/outside"));
}

}  // namespace
}  // namespace mayfly::init
