#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/virtio/vsock/port_range.h"
#include "vmm/cli/disk_options.h"
#include "vmm/cli/jail_request.h"
#include "vmm/cli/net_options.h"
#include "vmm/config/overrides.h"
#include "vmm/function/kernel_bundle.h"

namespace mayfly {

// The files that mayfly puts into a function's initrd.
struct GuestPrograms {
  std::string directory;

  [[nodiscard]] std::string init() const { return directory + "/init"; }
  [[nodiscard]] std::string handler() const { return directory + "/handler"; }
};

// What is asked of a function, and how its answers are printed.
struct InvokeOptions {
  std::vector<uint8_t> event;  // At most control::kMaxEvent bytes.
  uint32_t repeat = 1;
  bool json = false;  // Print answers, logs and timings as one JSON object instead of the answers.
};

// A `mayfly run`, checked as far as it can be without opening the image.
struct RunOptions {
  std::string image;  // The .mfn file.
  InvokeOptions invoke;
  bool console = false;  // Show the guest's console on standard error.
  bool verify = true;    // Compare the image with its digest, while the guest boots.
  std::string metrics;   // Where to write them; empty: nowhere.
  // Each replaces what the image's description says.
  std::optional<uint32_t> memory_mib;
  std::optional<uint32_t> vcpus;
  std::optional<uint32_t> timeout_ms;
  std::vector<NetOptions> nets;
  JailRequest jail;
  std::string kernel_path;  // As it was named, or found.
  KernelBundle kernel;
  GuestPrograms guest;
};

// A `mayfly snapshot`: a function that is booted, made ready, warmed, and saved.
struct SnapshotOptions {
  RunOptions run;         // Its invocations warm the function; none if repeat is 0.
  std::string directory;  // The snapshot's, which does not exist yet.
  bool json = false;      // Say how it went, as JSON.
};

enum class FillMemory : uint8_t { kMap, kUffd, kEager };

// A `mayfly invoke`: a snapshot that is restored and asked.
struct RestoreOptions {
  std::string directory;
  InvokeOptions invoke;
  FillMemory memory = FillMemory::kMap;
  bool unverified = false;      // Do not compare memory with its digests.
  bool record = false;          // Keep what the first invocation touches as the working set.
  bool use_working_set = true;  // If there is one.
  bool console = false;
  std::string metrics;
  std::string image;  // The function's image, if it is elsewhere than at the snapshot.
  // The socket of the process that fills memory; empty: this one does; "auto": one of its own.
  std::string pager;
  uint32_t pager_timeout_ms = 2000;  // For one page of its.
  std::optional<uint32_t> timeout_ms;
  std::vector<NetOptions> nets;
  Overrides overrides{};
  JailRequest jail;
};

// A `mayfly snapshot` of a snapshot: a function that is restored, warmed, and saved over it.
struct LayerOptions {
  RestoreOptions restore;  // Its invocations warm the function; none if repeat is 0.
  std::string directory;   // The new snapshot's, which does not exist yet.
  bool json = false;       // As above.
};

// A `mayfly snapshot record`.
struct RecordOptions {
  RestoreOptions restore;
  uint32_t runs = 1;  // Clones whose pages are looked at.
  bool add = false;   // The pages of the working set so far stay in it.
};

struct VsockOptions {
  static constexpr uint32_t kLeastCid = Overrides::kLeastCid;
  static constexpr uint32_t kMostCid = Overrides::kMostCid;

  // A Unix socket that does not exist yet; guest-initiated streams go to PATH_PORT.
  std::string path{};
  std::optional<uint32_t> cid{};  // Nothing: the least, or that of the snapshot.
  // Ports of the host that the guest may connect to; all if nothing.
  PortPolicy allow{};

  bool operator==(const VsockOptions&) const = default;
};

struct BalloonOptions {
  static constexpr uint64_t kLeastStatsMs = 100;
  static constexpr uint64_t kMostStatsMs = 3'600'000;

  uint64_t target_mib = 0;  // How much the guest is to give up.
  uint64_t stats_ms = 0;    // The interval of its statistics; 0: none.
  bool deflate_on_oom = false;

  bool operator==(const BalloonOptions&) const = default;
};

// What a `mayfly vm` is restored from, instead of booted.
struct VmRestoreOptions {
  std::string directory{};
  FillMemory memory = FillMemory::kMap;
  bool unverified = false;  // As in RestoreOptions.
  Overrides overrides{};

  bool operator==(const VmRestoreOptions&) const = default;
};

// When a `mayfly vm` is saved: on SIGUSR2, at the guest's doorbell, and after a time.
struct VmSnapshotOptions {
  std::string directory{};  // The snapshot's, which does not exist yet.
  std::optional<uint64_t> after_ms{};
  bool exit = false;  // The machine ends with its snapshot.

  bool operator==(const VmSnapshotOptions&) const = default;
};

// A `mayfly vm`: flags and configuration file together. docs/machine-config.md describes the
// fields.
struct VmOptions {
  static constexpr uint64_t kLeastMemoryMib = 64;
  static constexpr uint64_t kMostMemoryMib = uint64_t{1024} * 1024;
  static constexpr uint32_t kMostVcpus = 32;
  // COMMAND_LINE_SIZE of x86 Linux is 2048, with the NUL.
  static constexpr size_t kMostCommandLine = 2047;

  std::string kernel{};
  std::optional<std::string> initrd{};
  std::string command_line = "console=ttyS0 reboot=a panic=-1";
  uint64_t memory_mib = 128;
  uint32_t vcpus = 1;
  std::vector<DiskOptions> disks{};
  std::vector<NetOptions> nets{};
  std::optional<VsockOptions> vsock{};
  std::optional<BalloonOptions> balloon{};
  bool rng = false;
  std::string metrics{};  // Where to write them; empty: nowhere.
  // If it is set, nothing above that is not a disk, a network device or the vsock means anything.
  std::optional<VmRestoreOptions> restore{};
  std::optional<VmSnapshotOptions> snapshot{};
  JailRequest jail{};

  bool operator==(const VmOptions&) const = default;
};

}  // namespace mayfly
