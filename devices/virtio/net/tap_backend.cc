#include "devices/virtio/net/tap_backend.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cstring>

#include "base/file.h"
#include "devices/virtio/net/net_abi.h"

namespace mayfly {
namespace {

constexpr char kTunDevice[] = "/dev/net/tun";
// preadv2() and pwritev2() at no offset are readv() and writev(): a filter that allows those two
// for disks then allows no call more for taps.
constexpr off_t kNoOffset = -1;
constexpr short kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

// As the kernel's dev_valid_name(); '%' besides, with which it would make a name up.
Result<void> CheckName(const std::string& name) {
  if (name.size() >= IFNAMSIZ) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("tap {}: a name of {} bytes, but {} are the most", name, name.size(),
                            IFNAMSIZ - 1));
  }
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of("/:% \t\n\v\f\r") != std::string::npos) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("tap \"{}\": no interface can have this name", name));
  }
  return {};
}

Result<UniqueFd> OpenTunDevice() {
  Result<UniqueFd> tun = OpenFile(kTunDevice, O_RDWR | O_NONBLOCK);
  if (tun || tun.error().code() != ErrorCode::kNotFound) return tun;
  return Fail(ErrorCode::kUnsupported,
              fmt::format("{} is not there (modprobe tun loads its driver)", kTunDevice));
}

std::unexpected<Error> AttachError(const std::string& name, int error) {
  switch (error) {
    case EPERM:
      return Fail(ErrorCode::kPermission,
                  fmt::format("tap {}: belongs to somebody else (run as its owner or as root, or "
                              "make it with mayfly net up --user)",
                              name));
    case EBUSY:
      return Fail(
          ErrorCode::kPermission,
          fmt::format("tap {}: is in use by another process (each machine needs its own)", name));
    case EINVAL:
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("tap {}: is not a tap device, or one with several queues", name));
    default:
      return FailErrno("tap " + name, error);
  }
}

}  // namespace

Result<UniqueFd> TapBackend::Attach(const std::string& name) {
  TRY(CheckName(name));
  // TUNSETIFF would make it, if we may; one that nobody has set up is of no use.
  if (::if_nametoindex(name.c_str()) == 0) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("tap {}: there is no such interface (mayfly net up makes one)", name));
  }
  UniqueFd fd = TRY(WithContext(OpenTunDevice(), "tap " + name));
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = kFlags;
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return AttachError(name, errno);
  return fd;
}

Result<std::unique_ptr<TapBackend>> TapBackend::Open(const std::string& name, EventLoop* loop) {
  return Create(TRY(Attach(name)), name, loop);
}

Result<std::unique_ptr<TapBackend>> TapBackend::Create(UniqueFd fd, std::string name,
                                                       EventLoop* loop) {
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("tap {}: descriptor {} is not one of a tap device", name, fd.get()));
  }
  if ((request.ifr_flags & (kFlags | IFF_TUN)) != kFlags) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("tap {}: descriptor {} has to be attached with IFF_TAP, IFF_NO_PI and "
                            "IFF_VNET_HDR",
                            name, fd.get()));
  }
  const int header_size = sizeof(net::Header);
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_size) != 0) {
    return FailErrno("tap " + name + ": set the header's size");
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return FailErrno("tap " + name);
  }
  std::unique_ptr<TapBackend> self(new TapBackend(std::move(fd), std::move(name), loop));
  TRY(self->SetOffloads({}));
  TapBackend* const tap = self.get();
  self->watch_ = TRY(loop->Watch(tap->fd_.get(), EPOLLIN | EPOLLET, [tap](uint32_t) {
    if (tap->ready_) tap->ready_();
  }));
  return self;
}

TapBackend::~TapBackend() { loop_->Remove(watch_); }

Result<size_t> TapBackend::Read(std::span<const iovec> to) {
  while (true) {
    const ssize_t length =
        ::preadv2(fd_.get(), to.data(), static_cast<int>(to.size()), kNoOffset, 0);
    if (length >= 0) return static_cast<size_t>(length);
    if (errno == EAGAIN) return size_t{0};
    if (errno != EINTR) return FailErrno("read from tap " + name_);
  }
}

Result<void> TapBackend::Write(std::span<const iovec> frame) {
  while (true) {
    if (::pwritev2(fd_.get(), frame.data(), static_cast<int>(frame.size()), kNoOffset, 0) >= 0)
      return {};
    if (errno != EINTR) return FailErrno("write to tap " + name_);
  }
}

Result<void> TapBackend::SetOffloads(const NetOffloads& offloads) {
  const unsigned long flags = (offloads.checksum ? TUN_F_CSUM : 0UL) |
                              (offloads.tso4 ? TUN_F_TSO4 : 0UL) |
                              (offloads.tso6 ? TUN_F_TSO6 : 0UL);
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, flags) != 0) {
    return FailErrno("tap " + name_ + ": set the offloads");
  }
  return {};
}

Result<void> TapBackend::SetCarrier(bool up) {
  const int carrier = up ? 1 : 0;
  if (::ioctl(fd_.get(), TUNSETCARRIER, &carrier) != 0) {
    return FailErrno("tap " + name_ + ": set the carrier");
  }
  return {};
}

}  // namespace mayfly
