#include "vmm/machine/function_manifest.h"

#include <cpuid.h>
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "snapshot/snapshot_folder.h"

namespace mayfly {

std::string HostCpuName() {
  std::array<char, 49> name{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    std::array<unsigned, 4> registers{};
    if (__get_cpuid(0x80000002 + leaf, &registers[0], &registers[1], &registers[2],
                    &registers[3]) == 0) {
      return "unknown";
    }
    std::memcpy(name.data() + size_t{16} * leaf, registers.data(), sizeof(registers));
  }
  std::string text(name.data());
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

Result<Manifest> ManifestOfFunction(const FunctionImage& image,
                                    const std::vector<std::string>& taps) {
  Manifest manifest;
  manifest.mayfly_version = MAYFLY_VERSION;
  manifest.cpu = HostCpuName();
  const std::string path = TRY(RealPath(image.path()));
  manifest.disks.push_back({path, image.layout().file_size(), true});
  for (const std::string& tap : taps) manifest.nets.push_back({tap});
  manifest.function = Manifest::Function{};
  manifest.function->image_digest = image.layout().image_digest;
  return manifest;
}

Result<Manifest> ManifestOfLayer(const Snapshot& parent, const std::string& digest,
                                 const std::string& image, const std::vector<std::string>& taps) {
  if (ToHex(parent.manifest_digest()) != digest) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: another snapshot has its name by now", parent.path()));
  }
  Manifest manifest = parent.manifest();
  manifest.mayfly_version = MAYFLY_VERSION;
  manifest.cpu = HostCpuName();
  if (!image.empty()) manifest.disks[0].path = TRY(RealPath(image));
  for (size_t i = 0; i < taps.size() && i < manifest.nets.size(); ++i) {
    manifest.nets[i].tap = taps[i];
  }
  return manifest;
}

Result<FunctionImage> ImageOf(const Manifest& manifest, const std::string& elsewhere) {
  if (!manifest.function || manifest.disks.size() != 1) {
    return Fail(ErrorCode::kInvalidArgument, "not a function's snapshot");
  }
  FunctionImage image =
      TRY(FunctionImage::Open(elsewhere.empty() ? manifest.disks[0].path : elsewhere));
  if (image.layout().image_digest != manifest.function->image_digest) {
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: its digest is {}, the snapshot was made with {}", image.path(),
                    ToHex(image.layout().image_digest), ToHex(manifest.function->image_digest)));
  }
  return image;
}

}  // namespace mayfly
