#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/guest/machine_in_process.h"
#include "tests/guest/programs/pattern.h"

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

  static sockaddr_un Address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
  }
  static UniqueFd Socket() { return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
  UniqueFd Listen(const std::string& name) {
    UniqueFd socket = Socket();
    const sockaddr_un address = Address(PathFor(name));
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(socket.get(), 128), 0);
    return socket;
  }
  UniqueFd ConnectToGuest(const std::string& port) {
    UniqueFd socket = Socket();
    const sockaddr_un address = Address(PathFor("v"));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    const std::string request = "CONNECT " + port + "\n";
    SendAll(socket, request.data(), request.size());
    char byte = 0;
    while (byte != '\n' && ::recv(socket.get(), &byte, 1, 0) == 1) continue;
    EXPECT_EQ(byte, '\n');
    return socket;
  }
  static void SendAll(const UniqueFd& socket, const void* bytes, size_t size) {
    const char* from = static_cast<const char*>(bytes);
    while (size > 0) {
      const ssize_t count = ::send(socket.get(), from, size, MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      from += count;
      size -= static_cast<size_t>(count);
    }
  }
};

TEST_F(VsockGuestTest, ThousandConnectionsOfTheGuestAreOpenAtOnce) {
  const UniqueFd listener = Listen("v_1024");
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
  const uint64_t chunks = StreamMebibytes() * PATTERN_CHUNKS_PER_MIB;
  const UniqueFd listener = Listen("v_1025");
  StartPeer("stream 1025 " + std::to_string(StreamMebibytes()));
  const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(peer.valid());

  std::vector<uint64_t> words(PATTERN_WORDS);
  const auto size = static_cast<ssize_t>(words.size() * sizeof(uint64_t));
  uint64_t received = PATTERN_HASH_START;
  uint64_t received_chunks = 0;
  const auto start = std::chrono::steady_clock::now();
  while (::recv(peer.get(), words.data(), static_cast<size_t>(size), MSG_WAITALL) == size) {
    received = pattern_hash(words.data(), received);
    ++received_chunks;
  }
  const auto middle = std::chrono::steady_clock::now();
  uint64_t sent = PATTERN_HASH_START;
  for (uint64_t i = 0; i < chunks; ++i) {
    pattern_fill(words.data(), i + chunks);
    sent = pattern_hash(words.data(), sent);
    SendAll(peer, words.data(), static_cast<size_t>(size));
  }
  ASSERT_EQ(::shutdown(peer.get(), SHUT_WR), 0);

  ASSERT_TRUE(WaitForOutput("ended with 0")) << output();
  const auto end = std::chrono::steady_clock::now();
  EXPECT_EQ(received_chunks, chunks);
  char expected[128];
  std::snprintf(expected, sizeof(expected), "sent %016lx received %016lx in %lu chunks", received,
                sent, chunks);
  EXPECT_NE(output().find(expected), std::string::npos) << expected << " in " << output();
  RecordProperty("from_guest_ms", static_cast<int>((middle - start).count() / 1'000'000));
  RecordProperty("to_guest_ms", static_cast<int>((end - middle).count() / 1'000'000));
}

TEST_F(VsockGuestTest, HostConnectsToTheGuestAgainAndAgain) {
  StartPeer("echo 52 50");
  ASSERT_TRUE(WaitForOutput("listening")) << output();

  for (int i = 0; i < 50; ++i) {
    const UniqueFd client = ConnectToGuest("52");
    SendAll(client, "hello", 5);
    char answer[5] = {};
    ASSERT_EQ(::recv(client.get(), answer, 5, MSG_WAITALL), 5);
    EXPECT_EQ(std::string(answer, 5), "hello");
  }

  EXPECT_TRUE(WaitForOutput("all echoed")) << output();
}

}  // namespace
}  // namespace mayfly
