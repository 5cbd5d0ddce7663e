#include "tests/command/command_fixture.h"

namespace mayfly {
namespace {

// `mayfly net` on a host of the test's own: a network namespace and a /run that nobody else sees.
class NetSetupTest : public CommandFixture {
 protected:
  void SetUp() override {
    CommandFixture::SetUp();
    if (RunProgram({"unshare", "-n", "-m", "true"}).status != 0) {
      GTEST_SKIP() << "needs root for namespaces";
    }
  }
  // Runs a shell script that ends at the first command that fails.
  static ProgramResult Script(const std::string& script) {
    return RunProgram(
        {"unshare", "-n", "-m", "sh", "-ec",
         "mount -t tmpfs run /run; mayfly() { " + Build("bin/mayfly") + " \"$@\"; }\n" + script});
  }
};

TEST_F(NetSetupTest, UpPrintsWhatTheMachineNeeds) {
  const ProgramResult result = Script("mayfly net up tap0");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "tap=tap0,address=172.31.0.2/30,gateway=172.31.0.1\n");
}

TEST_F(NetSetupTest, MachineStartsOnWhatUpMade) {
  const ProgramResult result =
      Script("mayfly vm --kernel " + Build("test-guests/basic") +
             " --net $(mayfly net up tap0 --address 10.1.2.3/24 --mtu 9000) --cmdline hello; "
             "ip addr show dev tap0");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("inet 10.1.2.3/24"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("mtu 9000"), std::string::npos);
}

TEST_F(NetSetupTest, UpAndDownCanBeRepeated) {
  const ProgramResult result = Script(
      "mayfly net up tap0; mayfly net up tap0; mayfly net show; mayfly net down tap0; "
      "mayfly net down tap0; mayfly net show; ip -br link; nft list tables");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("tap0             free    tap=tap0,"), std::string::npos);
  EXPECT_EQ(result.out.substr(result.out.rfind('\n', result.out.size() - 2) + 1, 3), "lo ")
      << result.out;
}

TEST_F(NetSetupTest, BridgeGoesWithItsLastTap) {
  const ProgramResult result = Script(
      "mayfly net up t1 --bridge br0 --address 10.9.0.1/24; "
      "mayfly net up t2 --bridge br0 --address 10.9.0.1/24; "
      "ip -br link show master br0 | wc -l; mayfly net down t1 --bridge br0; "
      "ip -br addr show br0; mayfly net down t2 --bridge br0; ip -br link | wc -l");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.find("tap=t1\ntap=t2\n2\nbr0 "), 0) << result.out;
  EXPECT_TRUE(result.out.ends_with("\n1\n")) << result.out;
}

TEST_F(NetSetupTest, InterfaceThatIsNotOursIsNotTouched) {
  for (const char* verb : {"up", "down"}) {
    const ProgramResult result =
        Script(std::string("ip link add other type bridge; mayfly net ") + verb + " other");
    ExpectError(result, 2, "other: exists, and is not mayfly's");
  }
}

TEST_F(NetSetupTest, FailedStepLeavesNothingBehind) {
  Write("nft", "#!/bin/sh\necho no such thing >&2\nexit 1\n");
  const ProgramResult result = Script(
      "chmod +x " + PathFor("nft") + "; PATH=" + directory_ +
      ":$PATH; status=0; "
      "mayfly net up tap0 --netns clone1 || status=$?; mayfly net up t1 --bridge br0 || true; "
      "ip -br link | wc -l; ls /run/netns; exit $status");
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out, "1\n");
  EXPECT_NE(result.err.find("nft add table inet mayfly-mf-clone1"), std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find(": no such thing\n"), std::string::npos) << result.err;
}

TEST_F(NetSetupTest, MissingProgramIsNamedWithItsPackage) {
  Write("sh", "");
  const ProgramResult result = Script("PATH=/nonexistent; mayfly net up tap0");
  ExpectError(result, 3, "there is no program ip (packages iproute2 and nftables)");
}

TEST_F(NetSetupTest, ClonesHaveTheSameAddressesInNamespacesOfTheirOwn) {
  const ProgramResult result = Script(
      "for clone in clone1 clone2; do mayfly net up tap0 --netns $clone; done; "
      "mayfly net up tap0 --netns clone1; "
      "for clone in clone1 clone2; do ip -n $clone -br addr show tap0; done; "
      "ip -br addr show mf-clone1; ip -br addr show mf-clone2");
  EXPECT_EQ(result.status, 0) << result.err;
  const auto count = [&](const std::string& text) {
    size_t found = 0;
    for (size_t at = result.out.find(text); at != std::string::npos;
         at = result.out.find(text, at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(count("172.31.0.1/30"), 2) << result.out;
  EXPECT_EQ(count("172.30.0.1/30"), 1) << result.out;
  EXPECT_EQ(count("172.30.0.5/30"), 1) << result.out;
}

// A third namespace is the world outside; it knows nothing of the addresses inside.
TEST_F(NetSetupTest, NamespaceReachesTheWorldWithTheHostsAddress) {
  const ProgramResult result = Script(
      "ip netns add world; ip link add out type veth peer name in netns world; "
      "ip addr add 192.0.2.1/24 dev out; ip link set out up; "
      "ip -n world addr add 192.0.2.2/24 dev in; ip -n world link set in up; "
      "mayfly net up tap0 --netns clone1 >/dev/null; "
      "ip netns exec clone1 busybox ping -c 1 -W 5 192.0.2.2 | grep -c '1 packets received'; "
      "ip -n world route add default via 192.0.2.1; "
      "ip netns exec world busybox ping -c 1 -W 1 172.30.0.2 | grep -c ' 0 packets received'; "
      "mayfly net down tap0 --netns clone1; ip netns list; ip -br link | wc -l");
  EXPECT_EQ(result.status, 0) << result.err << result.out;
  EXPECT_EQ(result.out, "1\n1\nworld (id: 0)\n2\n");
}

TEST_F(NetSetupTest, SignalTakesDownWhatWasMade) {
  Write("nft", "#!/bin/sh\nkill -TERM $(cat " + PathFor("pid") + ")\nsleep 60\n");
  const ProgramResult result =
      Script("chmod +x " + PathFor("nft") + "; PATH=" + directory_ +
             ":$PATH; status=0; "
             "sh -c 'echo $$ >" +
             PathFor("pid") + "; exec " + Build("bin/mayfly") +
             " net up tap0' || status=$?; ip -br link | wc -l; exit $status");
  EXPECT_EQ(result.status, 143) << result.err;
  EXPECT_EQ(result.out, "1\n");
}

TEST_F(NetSetupTest, BadArgumentsAreUsage) {
  ExpectError(Mayfly({"net", "up", "a-name-that-goes-on"}), 2, "tap \"a-name-that-goes-on\"");
  ExpectError(Mayfly({"net", "up", "tap0", "--address", "10.0.0.0/24"}), 2, "--address: ");
  EXPECT_EQ(Mayfly({"net"}).status, 2);
  EXPECT_EQ(Mayfly({"net", "up"}).status, 2);
}

}  // namespace
}  // namespace mayfly
