#include "tests/bench/host_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

namespace mayfly {
namespace {

using Clock = Stopwatch::Clock;

constexpr size_t kPeerBytes = 64 << 10;
constexpr int kMostWait = 10'000;

bool SendAll(int socket, const uint8_t* bytes, size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(socket, bytes, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

void Serve(const UniqueFd& stream, StreamLoad load) {
  std::vector<uint8_t> bytes(kPeerBytes, 0x5a);
  while (true) {
    if (load == StreamLoad::kReceive) {
      if (!SendAll(stream.get(), bytes.data(), bytes.size())) return;
      continue;
    }
    const ssize_t got = ::recv(stream.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) return;
    if (load == StreamLoad::kRoundTrip &&
        !SendAll(stream.get(), bytes.data(), static_cast<size_t>(got))) {
      return;
    }
  }
}

Result<Measurement> Measure(int socket, StreamLoad load, size_t size, double seconds) {
  std::vector<uint8_t> bytes(size, 0x5a);
  Stopwatch watch(seconds);
  while (watch.running()) {
    const auto start = Clock::now();
    if (load != StreamLoad::kReceive && !SendAll(socket, bytes.data(), size)) {
      return FailErrno("send");
    }
    if (load != StreamLoad::kSend && ::recv(socket, bytes.data(), size, MSG_WAITALL) <= 0) {
      return FailErrno("receive");
    }
    if (load == StreamLoad::kRoundTrip) watch.Sample(Clock::now() - start);
    watch.Count(size);
  }
  return watch.Stop();
}

}  // namespace

StreamPeer::StreamPeer(UniqueFd stream, StreamLoad load)
    : thread_([stream = std::move(stream), load] { Serve(stream, load); }) {}

Result<StreamPeer> StreamPeer::Listen(const std::string& path, StreamLoad load) {
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return FailErrno("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  ::unlink(path.c_str());
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.get(), 1) != 0) {
    return FailErrno(path);
  }
  return StreamPeer(std::jthread([listener = std::move(listener), load] {
    pollfd readable{listener.get(), POLLIN, 0};
    if (::poll(&readable, 1, kMostWait) <= 0) return;
    const UniqueFd stream(::accept(listener.get(), nullptr, nullptr));
    if (stream.valid()) Serve(stream, load);
  }));
}

Result<Measurement> MeasureUnixSocket(StreamLoad load, size_t size, double seconds) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return FailErrno("socketpair");
  }
  const StreamPeer peer(UniqueFd(ends[1]), load);
  const UniqueFd ours(ends[0]);  // Closed first, which ends the peer.
  return Measure(ours.get(), load, size, seconds);
}

}  // namespace mayfly
