#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/unique_fd.h"
#include "tests/guest/guest_fixture.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

constexpr size_t kMebibyte = 1 << 20;

// How much the transfers move each way.
size_t TransferMebibytes() {
  const char* const text = std::getenv("MAYFLY_TEST_NET_MIB");  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? 8 : std::strtoul(text, nullptr, 10);
}

// One mebibyte in no short period.
std::string Data() {
  std::string data(kMebibyte, '\0');
  uint32_t state = 7;
  for (char& byte : data) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return data;
}

void SendCopies(int peer, const std::string& data, size_t copies) {
  for (size_t i = 0; i < copies; ++i) {
    for (size_t sent = 0; sent < data.size();) {
      const ssize_t count = ::send(peer, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<size_t>(count);
    }
  }
}

// How many bytes of the copies of `data` come, up to the first part that is wrong.
size_t ReceiveCopies(int peer, const std::string& data, size_t copies) {
  std::string part(data.size(), '\0');
  size_t received = 0;
  while (received < copies * data.size()) {
    const size_t at = received % data.size();
    const ssize_t count = ::recv(peer, part.data(), data.size() - at, 0);
    if (count <= 0) return received;
    const std::string_view bytes(part.data(), static_cast<size_t>(count));
    if (bytes != std::string_view(data).substr(at, bytes.size())) return received;
    received += bytes.size();
  }
  return received;
}

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
      // A guest that was killed does not say good-bye.
      const timeval patience{.tv_sec = 60, .tv_usec = 0};
      for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
        ::setsockopt(peer.get(), SOL_SOCKET, option, &patience, sizeof(patience));
      }
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

// A guest on tap0, on a link of its own with the host.
class NetTransferTest : public NetGuestTest, public testing::WithParamInterface<int> {
 protected:
  static void InNamespaceWithTap(const std::function<void()>& body) {
    const bool entered = InNetNamespace([&] {
      ASSERT_TRUE(Ip("tuntap add tap0 mode tap") &&
                  Ip("link set tap0 mtu " + std::to_string(GetParam())) &&
                  Ip("addr add 172.31.0.1/30 dev tap0") && Ip("link set tap0 up"));
      body();
    });
    if (!entered) GTEST_SKIP() << "needs root for a network namespace";
  }
  ProgramResult RunWithNet(const std::string& script, std::vector<std::string> more = {}) {
    more.insert(more.end(),
                {"--memory", "256M", "--net",
                 "tap=tap0,mtu=" + std::to_string(GetParam()) + ",address=172.31.0.2/30"});
    return RunMachine(MinimalKernel() + "/vmlinux", "mount -t devtmpfs dev /dev\n" + script, more);
  }
  // Into the machine's initrd, at its root.
  void PackFile(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories(PathFor("root"));
    std::ofstream(PathFor("root/" + name), std::ios::binary) << content;
    std::filesystem::permissions(PathFor("root/" + name), std::filesystem::perms::owner_all);
  }
};

INSTANTIATE_TEST_SUITE_P(Mtu, NetTransferTest, testing::Values(1500, 9000),
                         testing::PrintToStringParamName());

TEST_P(NetTransferTest, EveryByteArrivesBothWays) {
  const size_t copies = TransferMebibytes();
  const std::string data = Data();
  // Run with the connection for standard input and output.
  const std::string repeat =
      "i=0; while [ $i -lt " + std::to_string(copies) + " ]; do cat data; i=$((i + 1)); done";
  PackFile("data", data);
  // The host closes when it has got everything: a guest that went before would take with it what
  // waits in its socket.
  PackFile("send", "#!/bin/sh\ncd /; " + repeat + "; cat >/dev/null");
  PackFile("receive", "#!/bin/sh\nmd5sum >/md5");
  const ProgramResult digest =
      RunProgram({"sh", "-c", "cd " + PathFor("root") + "; (" + repeat + ") | md5sum"});

  InNamespaceWithTap([&] {
    size_t received = 0;
    ProgramResult result{};
    {
      const OneServer down(5001, [&](int peer) { SendCopies(peer, data, copies); });
      const OneServer up(5002, [&](int peer) { received = ReceiveCopies(peer, data, copies); });
      result = RunWithNet(
          "nc 172.31.0.1 5001 -e /receive\nnc 172.31.0.1 5002 -e /send\n"
          "echo md5 $(cat /md5)\nip link show eth0");
    }
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("md5 " + digest.out.substr(0, 32)), std::string::npos)
        << digest.out << result.out;
    EXPECT_EQ(received, copies * kMebibyte);
    EXPECT_NE(result.out.find("mtu " + std::to_string(GetParam())), std::string::npos)
        << result.out;
  });
}

TEST_P(NetTransferTest, IperfRunsBothWays) {
  const std::string programs = ProgramsDisk({"iperf3"});
  const std::string amount = std::to_string(TransferMebibytes()) + "M";
  InNamespaceWithTap([&] {
    std::thread servers([] {
      RunProgram({"sh", "-c", "timeout 100 iperf3 -s -1 & timeout 100 iperf3 -s -1 -p 5202; wait"});
    });
    // Until its server listens; iperf3 wants a file in /tmp.
    const ProgramResult result = RunWithNet(
        "mkdir -p /programs\nmount -t erofs -o ro /dev/vda /programs\n"
        "mount -t devtmpfs dev /programs/dev\nmount -t tmpfs tmp /programs/tmp\n"
        "for way in '-p 5201' '-R -p 5202'; do for try in 1 2 3 4 5; do\n"
        "  chroot /programs iperf3 -c 172.31.0.1 $way -n " +
            amount +
            " >/out 2>&1 && break\n"
            "  sleep 1\ndone; cat /out; done",
        {"--disk", programs + ",ro"});
    servers.join();
    EXPECT_EQ(result.status, 0) << result.err;
    size_t ways = 0;
    for (size_t at = result.out.find("receiver"); at != std::string::npos;
         at = result.out.find("receiver", at + 1)) {
      ++ways;
      const size_t start = result.out.rfind('\n', at) + 1;
      std::printf("mtu %d: %s\n", GetParam(), result.out.substr(start, at + 8 - start).c_str());
    }
    EXPECT_EQ(ways, 2) << result.out;
  });
}

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
  EXPECT_EQ(::chmod(PathFor("fn/bootstrap").c_str(), 0755), 0);
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
