#include "tests/guest/vsock_host.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "tests/guest/programs/pattern.h"
#include "tests/support/unix_address.h"

namespace mayfly {
namespace {

UniqueFd Socket() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(socket.valid());
  return socket;
}

}  // namespace

UniqueFd ListenOnUnixSocket(const std::string& path) {
  UniqueFd socket = Socket();
  const sockaddr_un address = UnixAddress(path);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(::listen(socket.get(), 128), 0);
  return socket;
}

UniqueFd ConnectToGuestPort(const std::string& path, const std::string& port) {
  UniqueFd socket = Socket();
  const sockaddr_un address = UnixAddress(path);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            0);
  const std::string request = "CONNECT " + port + "\n";
  SendAll(socket, request.data(), request.size());
  char byte = 0;
  while (byte != '\n' && ::recv(socket.get(), &byte, 1, 0) == 1) continue;
  EXPECT_EQ(byte, '\n');
  return socket;
}

void SendAll(const UniqueFd& socket, const void* bytes, size_t size) {
  const char* from = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t count = ::send(socket.get(), from, size, MSG_NOSIGNAL);
    ASSERT_GT(count, 0);
    from += count;
    size -= static_cast<size_t>(count);
  }
}

StreamServed ServeStream(const UniqueFd& listener, uint64_t mebibytes) {
  StreamServed served;
  const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  EXPECT_TRUE(peer.valid());
  std::vector<uint64_t> words(PATTERN_WORDS);
  const size_t size = words.size() * sizeof(uint64_t);

  const auto start = std::chrono::steady_clock::now();
  uint64_t received = PATTERN_HASH_START;
  while (::recv(peer.get(), words.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size)) {
    received = pattern_hash(words.data(), received);
    ++served.chunks;
  }
  served.receive_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::steady_clock::now() - start)
                          .count();

  const uint64_t chunks = mebibytes * PATTERN_CHUNKS_PER_MIB;
  uint64_t sent = PATTERN_HASH_START;
  for (uint64_t i = 0; i < chunks; ++i) {
    pattern_fill(words.data(), i + chunks);
    sent = pattern_hash(words.data(), sent);
    SendAll(peer, words.data(), size);
  }
  EXPECT_EQ(::shutdown(peer.get(), SHUT_WR), 0);
  served.guests_line =
      fmt::format("sent {:016x} received {:016x} in {} chunks", received, sent, chunks);
  return served;
}

}  // namespace mayfly
