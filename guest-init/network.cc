#include "guest-init/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "base/unique_fd.h"

namespace mayfly::init {
namespace {

constexpr unsigned kAddressBits = 32;

sockaddr SocketAddress(in_addr address) {
  sockaddr_in internet{};
  internet.sin_family = AF_INET;
  internet.sin_addr = address;
  sockaddr generic{};
  static_assert(sizeof(generic) == sizeof(internet));
  std::memcpy(&generic, &internet, sizeof(generic));
  return generic;
}

Result<in_addr> ParseAddress(const std::string& text) {
  in_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) == 1) return address;
  return Fail(ErrorCode::kInvalidArgument, "not an IPv4 address: " + text);
}

Result<void> Request(const UniqueFd& socket, unsigned long number, void* argument,
                     const char* what) {
  if (::ioctl(socket.get(), number, argument) != 0) return FailErrno(what);
  return {};
}

Result<void> Configure(const UniqueFd& socket, const NetworkInterface& interface) {
  ifreq request{};
  if (interface.name.size() >= sizeof(request.ifr_name)) {
    return Fail(ErrorCode::kInvalidArgument, "too long for the name of an interface");
  }
  if (interface.prefix < 1 || interface.prefix > kAddressBits) {
    return Fail(ErrorCode::kInvalidArgument, "a prefix has 1 to 32 bits");
  }
  std::memcpy(request.ifr_name, interface.name.data(), interface.name.size());
  request.ifr_addr = SocketAddress(TRY(ParseAddress(interface.address)));
  TRY(Request(socket, SIOCSIFADDR, &request, "set the address"));
  request.ifr_netmask = SocketAddress({htonl(UINT32_MAX << (kAddressBits - interface.prefix))});
  TRY(Request(socket, SIOCSIFNETMASK, &request, "set the netmask"));
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  TRY(Request(socket, SIOCSIFFLAGS, &request, "bring it up"));
  rtentry route{};
  route.rt_dst = SocketAddress({});
  route.rt_genmask = SocketAddress({});
  route.rt_flags = RTF_UP;
  route.rt_dev = request.ifr_name;
  // Those of an earlier life, until there is none.
  while (::ioctl(socket.get(), SIOCDELRT, &route) == 0) {
  }
  if (interface.gateway.empty()) return {};
  route.rt_gateway = SocketAddress(TRY(ParseAddress(interface.gateway)));
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  TRY(Request(socket, SIOCADDRT, &route, "set the default route"));
  // Another life's gateway may have had the same address and another hardware address.
  arpreq neighbour{};
  neighbour.arp_pa = route.rt_gateway;
  std::memcpy(neighbour.arp_dev, interface.name.data(), interface.name.size());
  if (::ioctl(socket.get(), SIOCDARP, &neighbour) != 0 && errno != ENXIO) {
    return FailErrno("forget the gateway's hardware address");
  }
  return {};
}

// A directory below `root`, which its links do not lead out of.
Result<UniqueFd> OpenBelow(const std::string& root, const char* directory) {
  const UniqueFd root_fd = TRY(OpenFile(root, O_PATH | O_DIRECTORY));
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT;
  const long fd = ::syscall(SYS_openat2, root_fd.get(), directory, &how, sizeof(how));
  if (fd < 0) return FailErrno(std::string("open ") + directory);
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace

Result<void> ConfigureInterfaces(const std::vector<NetworkInterface>& interfaces) {
  if (interfaces.empty()) return {};
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return FailErrno("socket");
  for (const NetworkInterface& interface : interfaces) {
    TRY(WithContext(Configure(socket, interface), interface.name));
  }
  return {};
}

Result<void> WriteResolvConf(const std::string& root,
                             const std::vector<NetworkInterface>& interfaces) {
  std::string text;
  for (const NetworkInterface& interface : interfaces) {
    for (const std::string& server : interface.dns) {
      TRY(ParseAddress(server));
      text += "nameserver " + server + "\n";
    }
  }
  if (text.empty()) return {};
  // There already in most images.
  static_cast<void>(::mkdir((root + "/etc").c_str(), 0755));
  const UniqueFd etc = TRY(OpenBelow(root, "etc"));
  constexpr char kName[] = "resolv.conf";
  if (::unlinkat(etc.get(), kName, 0) != 0 && errno != ENOENT) return FailErrno(kName);
  const UniqueFd file(
      ::openat(etc.get(), kName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file.valid()) return FailErrno(kName);
  return WriteAll(file.get(), AsBytes(text), kName);
}

}  // namespace mayfly::init
