#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "devices/identity/generation_id.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/blk/blk_options.h"
#include "devices/virtio/blk/open_backend.h"
#include "devices/virtio/net/net_state.h"
#include "devices/virtio/vsock/port_range.h"

namespace mayfly {

class ControlChannel;

struct DiskConfig {
  std::string path;  // For opening, and for errors.
  bool read_only = false;
  // If valid, the disk itself; `path` is then only a name.
  UniqueFd fd{};
  // The file of a private layer over the disk, which is then only read; empty: none. The
  // descriptor, if valid, is that file itself.
  std::string overlay{};
  UniqueFd overlay_fd{};
  BlkEngine engine = BlkEngine::kBest;
  BlkOptions options{};  // Without a serial number, the guest reads the disk's name.
};

struct NetConfig {
  std::string tap;                // Its name; with `fd` only for errors.
  UniqueFd fd;                    // If valid, the tap itself, attached: see TapBackend::Create().
  std::optional<MacAddress> mac;  // Nothing: a random one.
  uint16_t mtu = 0;               // 0: not offered.
  bool link_up = true;
  bool filter_source = false;  // See NetDevice::Resources.
  RateLimits receive_limits;
  RateLimits transmit_limits;
};

struct VsockConfig {
  static constexpr uint32_t kDefaultGuestCid = 3;
  uint32_t guest_cid = kDefaultGuestCid;
  // The Unix socket for connections from the host; those of the guest go to PATH_PORT. Empty: none.
  std::string path;
  // The service on control::kPort, borrowed; may be null. Must outlive the machine.
  ControlChannel* control = nullptr;
  // Which PATH_PORT the guest may connect to.
  PortPolicy allowed_ports{};
  // Of a machine that is restored: see VsockDevice::Resources. Nothing: it keeps its own.
  std::optional<uint32_t> new_cid{};
  // If they are valid, `path` is only a name: see BrokeredEndpoint.
  UniqueFd listener{};
  UniqueFd broker{};
};

struct BalloonConfig {
  uint64_t target_bytes = 0;
  std::chrono::milliseconds stats_interval{0};  // 0: no statistics.
  bool deflate_on_oom = false;
};

// Called first in each thread of the machine's, before it looks at anything of the guest's: where a
// jail puts its filters. Empty: nothing is called. Once they return, a thread ends when its body
// does.
struct ThreadHooks {
  std::function<void()> vcpu{};
  std::function<void()> io{};  // And of disks.
  std::function<void()>
      pager{};  // For whoever makes the memory: the machine finds its pager running.

  // A vCPU's thread then leaves to the loop what would take more system calls than running a guest.
  [[nodiscard]] bool filtered() const { return static_cast<bool>(vcpu); }
};

// Everything a machine is made of. MachineBuilder checks it.
struct MachineConfig {
  static constexpr uint64_t kLeastMemory = 64ULL << 20;
  static constexpr uint32_t kMostVcpus = 32;

  uint64_t memory_bytes = 128ULL << 20;
  uint32_t vcpu_count = 1;
  std::string kernel;
  UniqueFd kernel_fd{};  // If valid, the kernel itself; `kernel` is then only a name.
  std::string initrd_path;
  std::vector<uint8_t> initrd;  // Instead of a file.
  std::string command_line;
  std::vector<DiskConfig> disks;
  std::vector<NetConfig> nets;
  std::optional<VsockConfig> vsock;
  std::optional<BalloonConfig> balloon;
  bool rng = false;
  // Borrowed descriptors for the first serial port; -1: output is dropped, there is no input.
  int serial_output = -1;
  int serial_input = -1;
  // Of a machine that is restored: nothing is a random one.
  std::optional<GenerationGuid> generation{};
  UniqueFd kvm{};  // /dev/kvm, for whoever may not open it any more.
  ThreadHooks threads{};
};

}  // namespace mayfly
