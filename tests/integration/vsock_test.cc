#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "tests/integration/machine_fixture.h"

namespace mayfly {
namespace {

class VsockMachineTest : public MachineFixture {
 protected:
  MachineConfig ConfigWithSocket(const std::string& command_line) {
    MachineConfig config = ConfigFor("vsock_echo", command_line);
    config.vsock = VsockConfig{3, PathFor("v.sock"), nullptr};
    return config;
  }

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

  static UniqueFd Listen(const std::string& path, int backlog = 1) {
    UniqueFd socket = Socket();
    const sockaddr_un address = Address(path);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(socket.get(), backlog), 0);
    return socket;
  }

  // A client of the machine's socket that has sent `request`.
  UniqueFd Client(std::string_view request) {
    UniqueFd socket = Socket();
    const sockaddr_un address = Address(PathFor("v.sock"));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    Send(socket, request);
    return socket;
  }

  static void Send(const UniqueFd& socket, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }

  // Up to `size` bytes; fewer only if the peer closes.
  static std::string Receive(const UniqueFd& socket, size_t size) {
    std::string bytes(size, '\0');
    const ssize_t count = ::recv(socket.get(), bytes.data(), size, MSG_WAITALL);
    bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return bytes;
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

  // What the machine's event loop has had of the processors.
  static std::chrono::nanoseconds IoThreadTime() {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::ifstream(task.path() / "comm") >> name;
      if (name != "io") continue;
      int64_t nanoseconds = 0;
      std::ifstream(task.path() / "schedstat") >> nanoseconds;
      return std::chrono::nanoseconds(nanoseconds);
    }
    return {};
  }

  // Sends while it receives, as an echo larger than all buffers needs.
  static void ExpectEcho(const UniqueFd& socket, size_t size) {
    std::string sent(size, '\0');
    for (size_t i = 0; i < size; ++i) sent[i] = static_cast<char>(i * 31 + (i >> 11));
    std::thread sender([&] { Send(socket, sent); });
    const std::string received = Receive(socket, size);
    sender.join();
    EXPECT_TRUE(received == sent) << received.size() << " bytes came back";
  }
};

TEST_F(VsockMachineTest, GuestConnectsToAUnixSocketOfTheHost) {
  const UniqueFd listener = Listen(PathFor("v.sock_1234"));
  Start(ConfigWithSocket("connect"));
  UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(peer.valid());
  ExpectEcho(peer, 1 << 20);
  peer.Reset();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

TEST_F(VsockMachineTest, GuestConnectionToNobodyIsReset) {
  EXPECT_EQ(Run(ConfigWithSocket("refused")).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

TEST_F(VsockMachineTest, HostConnectsToAPortOfTheGuest) {
  Start(ConfigWithSocket("accept"));
  ASSERT_TRUE(WaitForOutput("listening"));
  UniqueFd client = Client("CONNECT 52\n");
  EXPECT_EQ(ReceiveLine(client).substr(0, 3), "OK ");
  ExpectEcho(client, 1 << 20);
  client.Reset();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
}

// Case 42: a guest that does not answer is given up on after two seconds.
TEST_F(VsockMachineTest, HostConnectionToAPortThatNobodyAnswersEnds) {
  Start(ConfigWithSocket("accept"));
  ASSERT_TRUE(WaitForOutput("listening"));
  const UniqueFd client = Client("CONNECT 53\n");
  EXPECT_EQ(ReceiveLine(client), "");
}

TEST_F(VsockMachineTest, RequestThatIsNoneIsDropped) {
  Start(ConfigWithSocket("accept"));
  ASSERT_TRUE(WaitForOutput("listening"));
  EXPECT_EQ(ReceiveLine(Client("HELLO\n")), "");
  EXPECT_EQ(ReceiveLine(Client("CONNECT 4294967296\n")), "");
  EXPECT_EQ(ReceiveLine(Client(std::string(100, 'x'))), "");
}

TEST_F(VsockMachineTest, GuestReachesOnlyAllowedPorts) {
  const UniqueFd listener = Listen(PathFor("v.sock_4321"));
  MachineConfig config = ConfigWithSocket("refused");
  config.vsock->allowed_ports = PortPolicy({{1, 4320}, {4322, 9999}});
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

// Cases 39 and 40.
TEST_F(VsockMachineTest, PacketsThatBreakTheRulesAreResetAndTheDeviceWorksOn) {
  const UniqueFd listener = Listen(PathFor("v.sock_1234"));
  MachineConfig config = ConfigFor("vsock_hostile", "rules");
  config.vsock = VsockConfig{3, PathFor("v.sock"), nullptr};
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

// Case 41: what the host does not read is kept up to a limit, and then the connection ends.
TEST_F(VsockMachineTest, GuestThatIgnoresItsCreditIsReset) {
  const UniqueFd listener = Listen(PathFor("v.sock_1234"));
  MachineConfig config = ConfigFor("vsock_hostile", "credit");
  config.vsock = VsockConfig{3, PathFor("v.sock"), nullptr};
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

// Case 42: nobody accepts; the connections wait in the listener's queue.
TEST_F(VsockMachineTest, FloodOfConnectionsIsCutOffAt1023) {
  const UniqueFd listener = Listen(PathFor("v.sock_1234"), 2048);
  MachineConfig config = ConfigFor("vsock_hostile", "flood");
  config.vsock = VsockConfig{3, PathFor("v.sock"), nullptr};
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "taken 00000000000003ff refused 000000000000004d\nPASSED\n");
}

// Case 43.
TEST_F(VsockMachineTest, SlowHostHoldsTheGuestBackWithoutCostingProcessorTime) {
  const UniqueFd listener = Listen(PathFor("v.sock_1234"));
  MachineConfig config = ConfigFor("vsock_hostile", "patient");
  config.vsock = VsockConfig{3, PathFor("v.sock"), nullptr};
  Start(std::move(config));
  const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(peer.valid());

  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // Until all buffers are full.
  const auto before = IoThreadTime();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  EXPECT_LT(IoThreadTime() - before, std::chrono::milliseconds(40));

  std::string expected(1 << 20, '\0');
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<char>(i % 8192 * 7);
  EXPECT_TRUE(Receive(peer, expected.size()) == expected);
  EXPECT_EQ(Receive(peer, 1), "");
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
}

TEST_F(VsockMachineTest, SocketIsRemovedWithTheMachine) {
  Start(ConfigWithSocket("accept"));
  ASSERT_TRUE(WaitForOutput("listening"));
  EXPECT_TRUE(std::filesystem::exists(PathFor("v.sock")));
  machine_.reset();
  EXPECT_FALSE(std::filesystem::exists(PathFor("v.sock")));
}

// Case 44.
TEST_F(VsockMachineTest, StaleSocketIsReplaced) {
  Listen(PathFor("v.sock")).Reset();
  Start(ConfigWithSocket("accept"));
  EXPECT_TRUE(WaitForOutput("listening"));
}

// Case 44.
TEST_F(VsockMachineTest, SocketInUseIsRefused) {
  const UniqueFd listener = Listen(PathFor("v.sock"));
  const auto machine = MachineBuilder(ConfigWithSocket("accept"), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().message().find("is in use"), std::string::npos);
}

// Case 44.
TEST_F(VsockMachineTest, SocketPathThatIsAFileIsRefusedAndStays) {
  WriteFile("v.sock", "precious");
  EXPECT_FALSE(MachineBuilder(ConfigWithSocket("accept"), nullptr).Boot());
  EXPECT_EQ(ReadBack("v.sock"), "precious");
}

// Case 44.
TEST_F(VsockMachineTest, SocketPathOf108BytesIsRefused) {
  MachineConfig config = ConfigFor("vsock_echo", "accept");
  config.vsock = VsockConfig{3, "/" + std::string(107, 'x'), nullptr};
  const auto machine = MachineBuilder(std::move(config), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace mayfly
