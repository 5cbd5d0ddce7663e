#include "tests/support/net_namespace.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "base/check.h"
#include "tests/support/program.h"

namespace mayfly {

bool InNetNamespace(const std::function<void()>& body) {
  bool entered = false;
  std::thread thread([&] {
    entered = ::unshare(CLONE_NEWNET) == 0;
    if (entered) body();
  });
  thread.join();
  return entered;
}

bool Ip(std::string_view arguments) {
  std::vector<std::string> command{"ip"};
  std::istringstream words{std::string(arguments)};
  for (std::string word; words >> word;) command.push_back(word);
  return RunProgram(command).status == 0;
}

PacketSocket::PacketSocket(const std::string& interface)
    : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
  CHECK(socket_.valid());
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  CHECK(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
}

void PacketSocket::Send(std::span<const uint8_t> frame) const {
  (void)::send(socket_.get(), frame.data(), frame.size(), 0);
}

std::vector<uint8_t> PacketSocket::Receive(uint16_t type) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  std::vector<uint8_t> frame(70'000);
  while (std::chrono::steady_clock::now() < end) {
    pollfd readable{socket_.get(), POLLIN, 0};
    if (::poll(&readable, 1, 100) <= 0) continue;
    const ssize_t length = ::recv(socket_.get(), frame.data(), frame.size(), 0);
    if (length < ETH_HLEN || frame[12] != type >> 8 || frame[13] != (type & 0xff)) continue;
    frame.resize(static_cast<size_t>(length));
    return frame;
  }
  return {};
}

}  // namespace mayfly
