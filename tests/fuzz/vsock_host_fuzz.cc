#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/check.h"
#include "devices/virtio/vsock/host_sockets.h"
#include "devices/virtio/vsock/unix_endpoint.h"
#include "tests/fuzz/device_rig.h"
#include "tests/fuzz/vsock_packets.h"

// The socket device's Unix sockets against hostile clients of the host's, while the guest answers,
// or does not.
namespace mayfly {
namespace {

constexpr uint32_t kListenedPort = 7;

// A directory of this process, and a socket on which the guest's connections to one port arrive.
class SocketPlace {
 public:
  SocketPlace() {
    std::string path = "/dev/shm/mayfly-fuzz-XXXXXX";
    CHECK(::mkdtemp(path.data()) != nullptr);
    directory_ = path;
    CHECK(::bind(listener_, Address(path_of_port()), sizeof(sockaddr_un)) == 0);
    CHECK(::listen(listener_, 128) == 0);
  }
  ~SocketPlace() {
    ::unlink(path_of_port().c_str());
    ::rmdir(directory_.c_str());
  }
  SocketPlace(const SocketPlace&) = delete;
  SocketPlace& operator=(const SocketPlace&) = delete;

  static SocketPlace& Instance() {
    static SocketPlace place;
    return place;
  }

  [[nodiscard]] std::string path() const { return directory_ + "/v"; }
  [[nodiscard]] int listener() const { return listener_; }

  UniqueFd Connect() {
    UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(client.get(), Address(path()), sizeof(sockaddr_un)) != 0) return UniqueFd();
    return client;
  }

 private:
  [[nodiscard]] std::string path_of_port() const {
    return path() + "_" + std::to_string(kListenedPort);
  }
  const sockaddr* Address(const std::string& path) {
    address_ = {};
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, path.data(), path.size());
    return reinterpret_cast<const sockaddr*>(&address_);
  }

  std::string directory_;
  sockaddr_un address_{};
  const int listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
};

class HostTarget {
 public:
  explicit HostTarget(ByteReader& in) : rig_(MakeDevice(), KickMode::kInline) {
    CHECK(sockets_->Serve(vsock_));
    rig_.driver().Start(in);
  }

  void Play(ByteReader& in) {
    while (!in.empty()) Step(in);
    rig_.driver().Check();
    // What the guest has connected to, so that the next execution finds nothing.
    while (UniqueFd(::accept4(place_.listener(), nullptr, nullptr, SOCK_NONBLOCK)).valid()) {
    }
  }

 private:
  std::unique_ptr<VirtioDevice> MakeDevice() {
    auto device = *VsockDevice::Create(
        {.name = "vsock", .loop = &DeviceRig::SharedLoop(), .services = {}, .host = sockets_.get()},
        VsockState{kFuzzGuestCid});
    vsock_ = device.get();
    return device;
  }

  void Step(ByteReader& in) {
    switch (in.Below(16)) {
      case 0:
        if (clients_.size() >= 8) return;
        clients_.push_back(place_.Connect());
        CHECK(clients_.back().valid());
        return;
      case 1:
        return Send(in, in.TakeBytes(in.Below(40)));
      case 2: {
        const std::string line = "CONNECT " + std::to_string(in.Below(4)) + "\n";
        return Send(in, std::span(reinterpret_cast<const uint8_t*>(line.data()), line.size()));
      }
      case 3: {
        static const std::vector<uint8_t> kMuch(64 << 10, 0x33);
        return Send(in, std::span(kMuch).first(in.Take<uint16_t>()));
      }
      case 4:
        return Leave(in);
      case 5: {
        std::array<uint8_t, 4096> bytes;
        if (UniqueFd* const client = Chosen(in)) {
          (void)::recv(client->get(), bytes.data(), in.Take<uint16_t>() % bytes.size(),
                       MSG_DONTWAIT);
        }
        return;
      }
      case 6:
        accepted_ = UniqueFd(::accept4(place_.listener(), nullptr, nullptr, SOCK_NONBLOCK));
        return;
      case 7:
        return rig_.driver().SubmitWritable(in, 0, in.Take<uint16_t>() % 0x1000);
      case 8:
      case 9: {
        const unsigned choice = in.Below(8);
        return SubmitPacket(in, rig_.driver(),
                            choice == 0 ? kListenedPort : (1U << 30) + choice - 1);
      }
      case 10:
        return rig_.driver().Act(in);
      case 11:
      case 12:
        return rig_.driver().Kick(in.Below(2));
      default:
        return rig_.RunLoop();
    }
  }

  UniqueFd* Chosen(ByteReader& in) {
    const unsigned choice = in.Below(9);
    if (choice == 8) return accepted_.valid() ? &accepted_ : nullptr;
    return choice < clients_.size() ? &clients_[choice] : nullptr;
  }

  void Send(ByteReader& in, std::span<const uint8_t> bytes) {
    if (UniqueFd* const client = Chosen(in)) {
      (void)::send(client->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  }

  void Leave(ByteReader& in) {
    constexpr std::array<int, 3> kDirections{SHUT_RD, SHUT_WR, SHUT_RDWR};
    UniqueFd* const client = Chosen(in);
    if (client == nullptr) return;
    const unsigned how = in.Below(4);
    if (how < kDirections.size()) {
      ::shutdown(client->get(), kDirections[how]);
    } else if (client == &accepted_) {
      accepted_ = UniqueFd();
    } else {
      clients_.erase(clients_.begin() + (client - clients_.data()));
    }
  }

  SocketPlace& place_ = SocketPlace::Instance();
  std::unique_ptr<HostSockets> sockets_ = std::make_unique<HostSockets>(
      *UnixEndpoint::Create(place_.path()), std::nullopt, &DeviceRig::SharedLoop(), false, nullptr);
  VsockDevice* vsock_ = nullptr;
  DeviceRig rig_;
  std::vector<UniqueFd> clients_;
  UniqueFd accepted_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::FuzzMemory::Instance().Restart();
  mayfly::HostTarget(in).Play(in);
  return 0;
}
