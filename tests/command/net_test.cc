#include "tests/command/command_fixture.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

// `mayfly vm --net` in a network namespace of the test's own.
class NetCommandTest : public CommandFixture {
 protected:
  static void InNamespace(const std::function<void()>& body) {
    if (!InNetNamespace(body)) GTEST_SKIP() << "needs root for a network namespace";
  }
  static std::vector<std::string> Vm(const std::string& net, const std::string& guest = "hello") {
    return {"vm", "--kernel", Build("test-guests/basic"), "--cmdline", guest, "--net", net};
  }
  // On tap0, as a user who may do nothing, with a tun device of this mode and KVM for everybody.
  static ProgramResult VmAsNobody(const std::string& tun_mode) {
    return RunProgram({"unshare", "-m", "sh", "-c",
                       R"(mount -t tmpfs none /dev/net && mknod -m "$2" /dev/net/tun c 10 200 &&
                          mount -t tmpfs none /mnt && mknod -m 666 /mnt/kvm c 10 232 &&
                          mount --bind /mnt/kvm /dev/kvm && cp "$0" "$1" /mnt && cd /mnt &&
                          exec setpriv --reuid=65534 --regid=65534 --clear-groups \
                            ./mayfly vm --kernel ./basic --cmdline hello --net tap=tap0)",
                       Build("bin/mayfly"), Build("test-guests/basic"), tun_mode});
  }
};

TEST_F(NetCommandTest, MissingTap) {
  InNamespace([] {
    ExpectError(Mayfly(Vm("tap=tap0")), 4,
                "net0: tap tap0: there is no such interface (mayfly net up makes one)");
  });
}

TEST_F(NetCommandTest, NameThatIsTooLong) {
  ExpectError(Mayfly(Vm("tap=a-name-that-goes-on")), 2, "19 bytes, but 15 are the most");
}

TEST_F(NetCommandTest, InterfaceOfAnotherKind) {
  InNamespace([] { ExpectError(Mayfly(Vm("tap=lo")), 2, "tap lo: is not a tap device"); });
}

TEST_F(NetCommandTest, TapInUse) {
  InNamespace([] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap") && Ip("link set tap0 up"));
    const ProgramResult result =
        RunProgram({"sh", "-c",
                    R"("$0" vm --kernel "$1" --cmdline loop --net tap=tap0 >/dev/null &
            until ip link show tap0 | grep -q LOWER_UP; do sleep 0.05; done
            "$0" vm --kernel "$1" --cmdline hello --net tap=tap0; status=$?
            kill $!; wait $! 2>/dev/null; exit $status)",
                    Build("bin/mayfly"), Build("test-guests/basic")});
    ExpectError(result, 3, "tap tap0: is in use by another process");
  });
}

TEST_F(NetCommandTest, NoPermissionForTheTunDevice) {
  InNamespace([] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap"));
    ExpectError(VmAsNobody("600"), 3, "tap tap0: open /dev/net/tun: Permission denied");
  });
}

TEST_F(NetCommandTest, TapOfSomebodyElse) {
  InNamespace([] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap user 1"));
    ExpectError(VmAsNobody("666"), 3, "tap tap0: belongs to somebody else");
  });
}

TEST_F(NetCommandTest, DescriptorThatIsNotOpen) {
  ExpectError(Mayfly(Vm("fd=900")), 2, "net 0: descriptor 900 is not open");
}

TEST_F(NetCommandTest, DescriptorOfSomethingElse) {
  const ProgramResult result =
      RunProgram({"sh", "-c", R"(exec "$0" vm --kernel "$1" --net fd=9 9</dev/null)",
                  Build("bin/mayfly"), Build("test-guests/basic")});
  ExpectError(result, 2, "tap fd 9: descriptor 9 is not one of a tap device");
}

TEST_F(NetCommandTest, UnknownKeyIsUsage) {
  ExpectError(Mayfly(Vm("tap=tap0,vhost=on")), 2, "\"vhost=on\": expected KEY=VALUE");
}

TEST_F(NetCommandTest, MetricsHaveTheDevice) {
  InNamespace([&] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap"));
    std::vector<std::string> arguments = Vm("tap=tap0");
    arguments.insert(arguments.end(), {"--metrics", PathFor("m.prom")});
    const ProgramResult result = Mayfly(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(Contents(PathFor("m.prom")).find("mayfly_net_tx_frames_total{device=\"net0\"} 0"),
              std::string::npos);
  });
}

}  // namespace
}  // namespace mayfly
