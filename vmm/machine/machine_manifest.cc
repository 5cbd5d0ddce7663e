#include "vmm/machine/machine_manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "devices/virtio/blk/blk.h"
#include "snapshot/snapshot_folder.h"
#include "vmm/machine/function_manifest.h"

namespace mayfly {
namespace {

const VirtioState* FindDevice(const MachineState& state, const std::string& name) {
  const auto found = std::ranges::find(state.virtio, name, &VirtioState::name);
  return found == state.virtio.end() ? nullptr : &*found;
}

Result<void> CheckCount(size_t given, size_t saved, std::string_view what) {
  if (given == saved) return {};
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: {} are given, the snapshot has {}", what, given, saved));
}

Result<std::vector<DiskConfig>> DisksOf(const Manifest& manifest) {
  std::vector<DiskConfig> disks;
  for (const Manifest::Disk& disk : manifest.disks) {
    if (disk.path.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("disk{}: had a layer over it at the snapshot, and has to be given "
                              "with one",
                              disks.size()));
    }
    disks.push_back({disk.path, disk.read_only});
  }
  return disks;
}

// What the guest's driver knows of the disk stays as it is.
void AdoptShape(const MachineState& state, size_t index, DiskConfig* disk) {
  const VirtioState* const device = FindDevice(state, fmt::format("disk{}", index));
  if (device != nullptr && index < state.disks.size()) {
    disk->options.queues = static_cast<uint16_t>(device->transport.queues.size());
    disk->options.block_size = state.disks[index].block_size;
  }
}

}  // namespace

Result<std::vector<NetConfig>> NetsOf(const Manifest& manifest) {
  std::vector<NetConfig> nets;
  for (const Manifest::Net& net : manifest.nets) {
    if (net.tap.empty()) {
      return Fail(
          ErrorCode::kInvalidArgument,
          fmt::format("net{}: had an inherited tap at the snapshot, and has to be given one",
                      nets.size()));
    }
    nets.emplace_back().tap = net.tap;
  }
  return nets;
}

Result<Manifest> ManifestOfMachine(const MachineConfig& config) {
  Manifest manifest;
  manifest.mayfly_version = MAYFLY_VERSION;
  manifest.cpu = HostCpuName();
  for (const DiskConfig& disk : config.disks) {
    Manifest::Disk& named = manifest.disks.emplace_back();
    if (disk.overlay.empty()) named.path = TRY(RealPath(disk.path));
    named.read_only = disk.read_only;
  }
  for (const NetConfig& net : config.nets) {
    manifest.nets.push_back({net.fd.valid() ? std::string() : net.tap});
  }
  return manifest;
}

void SetDiskSizes(const MachineState& state, Manifest* manifest) {
  for (size_t i = 0; i < std::min(state.disks.size(), manifest->disks.size()); ++i) {
    manifest->disks[i].bytes = state.disks[i].capacity_sectors * BlkDevice::kSectorSize;
  }
}

Result<MachineConfig> ConfigOfClone(const Manifest& manifest, const MachineState& state,
                                    MachineBindings bindings) {
  if (manifest.function) {
    return Fail(ErrorCode::kInvalidArgument,
                "a function's snapshot, not a plain machine's (mayfly invoke restores it)");
  }
  MachineConfig config;
  config.disks = bindings.disks.empty() ? TRY(DisksOf(manifest)) : std::move(bindings.disks);
  TRY(CheckCount(config.disks.size(), state.disks.size(), "disks"));
  for (size_t i = 0; i < config.disks.size(); ++i) AdoptShape(state, i, &config.disks[i]);
  config.nets = bindings.nets.empty() ? TRY(NetsOf(manifest)) : std::move(bindings.nets);
  TRY(CheckCount(config.nets.size(), state.nets.size(), "network devices"));
  if (bindings.vsock) TRY(CheckCount(1, state.vsocks.size(), "vsock"));
  if (!state.vsocks.empty()) config.vsock = std::move(bindings.vsock).value_or(VsockConfig{});
  if (!state.balloons.empty()) config.balloon = BalloonConfig{};
  config.rng = FindDevice(state, "rng") != nullptr;
  return config;
}

}  // namespace mayfly
