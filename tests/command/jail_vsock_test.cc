#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstring>
#include <future>
#include <thread>

#include "base/check.h"
#include "base/unique_fd.h"
#include "tests/command/jail_fixture.h"
#include "tests/support/child_process.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// A jailed machine's vsock, natively: the test guests "vsock_echo" and "vsock_hostile".
class JailVsockTest : public JailFixture {
 protected:
  static sockaddr_un Address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
  }
  static UniqueFd Socket() {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(socket.valid());
    return socket;
  }
  [[nodiscard]] UniqueFd Listen(const std::string& name, int backlog = 1) const {
    UniqueFd socket = Socket();
    const sockaddr_un address = Address(PathFor(name));
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(socket.get(), backlog), 0);
    return socket;
  }
  // A client of the machine's socket, as soon as that is there, that has sent `request`.
  [[nodiscard]] UniqueFd Client(std::string_view request) const {
    const sockaddr_un address = Address(PathFor("v.sock"));
    UniqueFd socket = Socket();
    while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
           0) {
      std::this_thread::yield();
    }
    EXPECT_EQ(::send(socket.get(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    return socket;
  }
  static std::string ReceiveLine(const UniqueFd& socket) {
    std::string line;
    char byte = 0;
    while (::recv(socket.get(), &byte, 1, 0) == 1) {
      line += byte;
      if (byte == '\n') break;
    }
    return line;
  }
  // A connection to port 52 of the guest, tried again until it listens.
  [[nodiscard]] UniqueFd ConnectToGuest() const {
    while (true) {
      UniqueFd client = Client("CONNECT 52\n");
      if (ReceiveLine(client).starts_with("OK ")) return client;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  // Sends while it receives, as an echo larger than all buffers needs.
  static void ExpectEcho(const UniqueFd& socket) {
    std::string sent(1 << 20, '\0');
    for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 + (i >> 11));
    std::thread sender([&] {
      for (size_t at = 0; at < sent.size();) {
        const ssize_t count =
            ::send(socket.get(), sent.data() + at, sent.size() - at, MSG_NOSIGNAL);
        ASSERT_GT(count, 0);
        at += static_cast<size_t>(count);
      }
    });
    std::string received(sent.size(), '\0');
    const ssize_t count = ::recv(socket.get(), received.data(), received.size(), MSG_WAITALL);
    sender.join();
    EXPECT_EQ(count, static_cast<ssize_t>(sent.size()));
    EXPECT_TRUE(received == sent);
  }
  [[nodiscard]] std::vector<std::string> Vm(const std::string& guest, const std::string& what,
                                            const std::string& more = "") const {
    return {"vm", "--kernel", Build("test-guests/" + guest), "--cmdline",
            what, "--vsock",  PathFor("v.sock") + more};
  }
  [[nodiscard]] std::future<ProgramResult> StartJailed(std::vector<std::string> arguments) const {
    return std::async(std::launch::async,
                      [this, arguments = std::move(arguments)] { return Jailed(arguments); });
  }
  void ExpectNothingLeftOfIt() const {
    ExpectNothingLeft();
    EXPECT_FALSE(fs::exists(PathFor("v.sock")));
  }
};

TEST_F(JailVsockTest, GuestConnectsToAUnixSocketOfTheHost) {
  const UniqueFd listener = Listen("v.sock_1234");
  auto ended = StartJailed(Vm("vsock_echo", "connect"));
  UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(peer.valid());
  ExpectEcho(peer);
  peer.Reset();
  ExpectAnswer(ended.get(), "PASSED\n");
  ExpectNothingLeftOfIt();
}

TEST_F(JailVsockTest, HostConnectsToAPortOfTheGuest) {
  auto ended = StartJailed(Vm("vsock_echo", "accept"));
  UniqueFd client = ConnectToGuest();
  ExpectEcho(client);
  client.Reset();
  ExpectAnswer(ended.get(), "listening\nPASSED\n");
  ExpectNothingLeftOfIt();
}

// The vCPU that resets the device may not close the connection's socket.
TEST_F(JailVsockTest, DriverThatStartsAnewEndsItsConnections) {
  const UniqueFd listener = Listen("v.sock_1234", 2);
  auto ended = StartJailed(Vm("vsock_echo", "again"));
  const UniqueFd first(::accept(listener.get(), nullptr, nullptr));
  UniqueFd second(::accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(ReceiveLine(first), "");
  ExpectEcho(second);
  second.Reset();
  ExpectAnswer(ended.get(), "PASSED\n");
}

TEST_F(JailVsockTest, NothingIsCalledThatTheFiltersWouldNotAllow) {
  const UniqueFd listener = Listen("v.sock_1234");
  std::vector<std::string> command = Vm("vsock_echo", "connect");
  command.insert(command.end(), {"--seccomp", "log"});
  auto ended = StartJailed(command);
  UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(ReceiveLine(Client("CONNECT 4294967296\n")), "");
  ExpectEcho(peer);
  peer.Reset();
  ExpectAnswer(ended.get(), "PASSED\n");
}

TEST_F(JailVsockTest, GuestConnectionToNobodyIsReset) {
  const ProgramResult result = Jailed(Vm("vsock_echo", "refused"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "PASSED\n");
  ExpectNothingLeftOfIt();
}

TEST_F(JailVsockTest, GuestReachesOnlyAllowedPorts) {
  const UniqueFd listener = Listen("v.sock_4321");
  const ProgramResult result = Jailed(Vm("vsock_echo", "refused", ",allow=1-4320"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "PASSED\n");
}

TEST_F(JailVsockTest, PacketsThatBreakTheRulesEndNoMachine) {
  const UniqueFd listener = Listen("v.sock_1234");
  const ProgramResult result = Jailed(Vm("vsock_hostile", "rules"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "PASSED\n");
}

// Case 42: descriptors run out before the device's own limit is reached.
TEST_F(JailVsockTest, FloodOfConnectionsIsCutOff) {
  const UniqueFd listener = Listen("v.sock_1234", 2048);
  const ProgramResult result = Jailed(Vm("vsock_hostile", "flood"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.find("taken 00000000000003"), 0U) << result.out;
  ExpectNothingLeftOfIt();
}

TEST_F(JailVsockTest, SocketOfAnotherIsRefusedAndStays) {
  const UniqueFd listener = Listen("v.sock");
  ExpectError(Jailed(Vm("vsock_echo", "accept")), 2, "exists already");
  EXPECT_TRUE(fs::exists(PathFor("v.sock")));
  ExpectNothingLeft();
}

TEST_F(JailVsockTest, CollectorRemovesTheSocketOfASupervisorThatWasKilled) {
  {
    // `env` becomes the supervisor.
    ChildProcess supervisor(JailedCommand(Vm("vsock_echo", "accept")));
    const UniqueFd client = ConnectToGuest();
    supervisor.Signal(SIGKILL);
    supervisor.Wait();
  }
  EXPECT_TRUE(fs::exists(PathFor("v.sock")));

  const ProgramResult collected =
      RunProgram({Build("bin/mayfly-jailer"), "gc", "--run-dir", PathFor("run")});

  EXPECT_EQ(collected.status, 0) << collected.err;
  ExpectNothingLeftOfIt();
}

TEST_F(JailVsockTest, CollectorLeavesASocketThatSomebodyElseListensOnByNow) {
  {
    ChildProcess supervisor(JailedCommand(Vm("vsock_echo", "accept")));
    const UniqueFd client = ConnectToGuest();
    supervisor.Signal(SIGKILL);
    supervisor.Wait();
  }
  fs::remove(PathFor("v.sock"));
  const UniqueFd listener = Listen("v.sock");

  const ProgramResult collected =
      RunProgram({Build("bin/mayfly-jailer"), "gc", "--run-dir", PathFor("run")});

  EXPECT_EQ(collected.status, 0) << collected.err;
  EXPECT_TRUE(fs::exists(PathFor("v.sock")));
  ExpectNothingLeft();
}

}  // namespace
}  // namespace mayfly
