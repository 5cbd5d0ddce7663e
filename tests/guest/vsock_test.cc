#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <vector>

#include "tests/guest/machine_in_process.h"
#include "tests/guest/programs/pattern.h"
#include "tests/guest/vsock_host.h"

namespace mayfly {
namespace {

// How much goes each way; the environment can ask for more.
uint64_t StreamMebibytes() {
  const char* value = std::getenv("MAYFLY_TEST_VSOCK_MIB");
  return value == nullptr ? 8 : std::strtoull(value, nullptr, 10);
}

class VsockGuestTest : public MachineInProcess {
 protected:
  void SetUp() override {
    MachineInProcess::SetUp();
    if (IsSkipped()) return;
    const rlimit limit{4096, 4096};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  }

  void StartPeer(const std::string& arguments) {
    AddProgram(std::string(MAYFLY_BUILD_DIR) + "/test-guests/vsock_peer");
    MachineConfig config = ConfigFor("vsock_peer " + arguments + "; echo ended with $?");
    config.vsock = VsockConfig{3, PathFor("v"), nullptr};
    Start(std::move(config));
  }
};

TEST_F(VsockGuestTest, ThousandConnectionsOfTheGuestAreOpenAtOnce) {
  const UniqueFd listener = ListenOnUnixSocket(PathFor("v_1024"));
  StartPeer("many 1024 1000");

  std::vector<UniqueFd> peers;
  for (int i = 0; i < 1000; ++i) {
    peers.emplace_back(::accept(listener.get(), nullptr, nullptr));
    ASSERT_TRUE(peers.back().valid());
  }
  for (const UniqueFd& peer : peers) {
    int number = 0;
    ASSERT_EQ(::recv(peer.get(), &number, sizeof(number), MSG_WAITALL), sizeof(number));
    ++number;
    SendAll(peer, &number, sizeof(number));
  }

  EXPECT_TRUE(WaitForOutput("ended with 0")) << output();
  EXPECT_NE(output().find("1000 connections"), std::string::npos);
}

TEST_F(VsockGuestTest, StreamArrivesWholeBothWaysWithHalfClose) {
  const UniqueFd listener = ListenOnUnixSocket(PathFor("v_1025"));
  StartPeer("stream 1025 " + std::to_string(StreamMebibytes()));
  const auto start = std::chrono::steady_clock::now();
  const StreamServed served = ServeStream(listener, StreamMebibytes());

  ASSERT_TRUE(WaitForOutput("ended with 0")) << output();
  const std::chrono::nanoseconds all = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(served.chunks, StreamMebibytes() * PATTERN_CHUNKS_PER_MIB);
  EXPECT_NE(output().find(served.guests_line), std::string::npos)
      << served.guests_line << " in " << output();
  RecordProperty("from_guest_ms", static_cast<int>(served.receive_ms));
  RecordProperty("to_guest_ms", static_cast<int>(all.count() / 1'000'000 - served.receive_ms));
}

TEST_F(VsockGuestTest, HostConnectsToTheGuestAgainAndAgain) {
  StartPeer("echo 52 50");
  ASSERT_TRUE(WaitForOutput("listening")) << output();

  for (int i = 0; i < 50; ++i) {
    const UniqueFd client = ConnectToGuestPort(PathFor("v"), "52");
    SendAll(client, "hello", 5);
    char answer[5] = {};
    ASSERT_EQ(::recv(client.get(), answer, 5, MSG_WAITALL), 5);
    EXPECT_EQ(std::string(answer, 5), "hello");
  }

  EXPECT_TRUE(WaitForOutput("all echoed")) << output();
}

}  // namespace
}  // namespace mayfly
