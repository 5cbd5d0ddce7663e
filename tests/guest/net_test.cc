#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/unique_fd.h"
#include "tests/guest/guest_fixture.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

// Serves one connection to a TCP port of this namespace, on a thread.
class OneServer {
 public:
  OneServer(uint16_t port, std::function<void(int)> serve)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, serve = std::move(serve)] {
      const UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (peer.valid()) serve(peer.get());
    });
  }
  OneServer(const OneServer&) = delete;
  OneServer& operator=(const OneServer&) = delete;
  ~OneServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);  // Nobody came.
    thread_.join();
  }

 private:
  UniqueFd listener_;
  std::thread thread_;
};

class NetGuestTest : public GuestFixture {};

// What docs/network.md promises of a point-to-point link, tried out by a guest.
TEST_F(NetGuestTest, GuestGetsOutByAddressTranslationAndNotIntoTheHost) {
  const std::string world = "mayfly-world-" + std::to_string(::getpid());
  const bool entered = InNetNamespace([&] {
    ASSERT_TRUE(Ip("netns add " + world));
    EXPECT_TRUE(Ip("link add out type veth peer name in netns " + world) &&
                Ip("addr add 192.0.2.1/24 dev out") && Ip("link set out up") &&
                Ip("-n " + world + " addr add 192.0.2.2/24 dev in") &&
                Ip("-n " + world + " link set in up"));
    const ProgramResult up = Mayfly({"net", "up", "tap0"});
    EXPECT_EQ(up.status, 0) << up.err;
    bool reached = false;
    ProgramResult result{};
    {
      const OneServer host(5001, [&](int) { reached = true; });
      result = RunMachine(
          MinimalKernel() + "/vmlinux",
          "mount -t devtmpfs dev /dev\nping -c 1 -W 10 192.0.2.2\nping -c 1 -W 10 172.31.0.1\n"
          "nc -w 2 172.31.0.1 5001 </dev/null || echo no way in",
          {"--net", up.out.substr(0, up.out.find('\n'))});
    }
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("64 bytes from 192.0.2.2"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("64 bytes from 172.31.0.1"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("no way in"), std::string::npos) << result.out;
    EXPECT_FALSE(reached);
    EXPECT_EQ(Mayfly({"net", "down", "tap0"}).status, 0);
    EXPECT_TRUE(Ip("netns del " + world));
  });
  if (!entered) GTEST_SKIP() << "needs root for a network namespace";
}

TEST_F(NetGuestTest, FunctionHasItsAddressBeforeItsHandlerStarts) {
  std::filesystem::create_directories(PathFor("fn"));
  std::filesystem::copy_file(std::string(MAYFLY_BUILD_DIR) + "/examples/bootstrap-shell/bootstrap",
                             PathFor("fn/echo"));
  // Answers with what it found at its start.
  std::ofstream(PathFor("fn/bootstrap"))
      << "#!/bin/sh\n{ busybox ip -4 addr show eth0; busybox ip route; cat /etc/resolv.conf; } >"
         "/tmp/found 2>&1\nsed 's,@$event,@/tmp/found,' /var/task/echo >/tmp/run\nexec sh "
         "/tmp/run\n";
  std::filesystem::permissions(PathFor("fn/bootstrap"), std::filesystem::perms(0755));
  std::ofstream(PathFor("fn/mayfly.json"))
      << R"({"name": "net", "kind": "bootstrap", "memory_mib": 256, "timeout_ms": 30000, "include":
             ["/bin/sh", "/usr/bin/curl", "/usr/bin/sed", "/usr/bin/wc", "/bin/cat",
              "/bin/busybox"]})";
  const ProgramResult built = Mayfly({"build", PathFor("fn"), "-o", PathFor("net.mfn")});
  ASSERT_EQ(built.status, 0) << built.err;
  const bool entered = InNetNamespace([&] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap") && Ip("link set tap0 up"));
    const ProgramResult result =
        Mayfly({"run", PathFor("net.mfn"), "--kernel", MinimalKernel(), "--net",
                "tap=tap0,address=172.31.0.2/30,gateway=172.31.0.1,dns=1.1.1.1"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("inet 172.31.0.2/30"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("default via 172.31.0.1"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("nameserver 1.1.1.1"), std::string::npos) << result.out;
  });
  if (!entered) GTEST_SKIP() << "needs root for a network namespace";
}

}  // namespace
}  // namespace mayfly
