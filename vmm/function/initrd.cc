#include "vmm/function/initrd.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <iterator>
#include <span>
#include <string_view>

#include "base/arithmetic.h"
#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostFileBytes = 64 << 20;
constexpr size_t kCpioAlignment = 4;
// The kernel takes an initrd in pages.
constexpr size_t kArchiveAlignment = 4096;

struct Device {
  uint32_t major = 0;
  uint32_t minor = 0;
};

class CpioArchive {
 public:
  void AddDirectory(std::string_view name) { Add(name, S_IFDIR | 0755, {}, {}); }
  void AddDevice(std::string_view name, Device device) { Add(name, S_IFCHR | 0600, device, {}); }
  void AddFile(std::string_view name, mode_t mode, std::span<const uint8_t> data) {
    Add(name, S_IFREG | mode, {}, data);
  }
  std::vector<uint8_t> Finish() && {
    inode_ = 0;
    Add("TRAILER!!!", 0, {}, {});
    bytes_.resize(AlignUp(bytes_.size(), kArchiveAlignment));
    return std::move(bytes_);
  }

 private:
  void Add(std::string_view name, mode_t mode, Device device, std::span<const uint8_t> data) {
    const uint32_t links = S_ISDIR(mode) ? 2 : 1;
    // magic, ino, mode, uid, gid, nlink, mtime, filesize, major, minor, rmajor, rminor, namesize,
    // check
    fmt::format_to(std::back_inserter(bytes_),
                   "070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}"
                   "{:08x}",
                   inode_++, mode, 0, 0, links, 0, data.size(), 0, 0, device.major, device.minor,
                   name.size() + 1, 0);
    bytes_.insert(bytes_.end(), name.begin(), name.end());
    bytes_.push_back(0);
    bytes_.resize(AlignUp(bytes_.size(), kCpioAlignment));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    bytes_.resize(AlignUp(bytes_.size(), kCpioAlignment));
  }

  std::vector<uint8_t> bytes_;
  uint32_t inode_ = 1;
};

Result<void> AddHostFile(CpioArchive& archive, const std::string& name, mode_t mode,
                         const std::string& path) {
  const std::vector<uint8_t> data = TRY(WithContext(ReadFile(path, kMostFileBytes), "initrd"));
  archive.AddFile(name, mode, data);
  return {};
}

}  // namespace

Result<std::vector<uint8_t>> BuildInitrd(const InitrdContents& contents) {
  CpioArchive archive;
  for (const char* directory :
       {"dev", "proc", "sys", "run", "tmp", "mnt", "mayfly", "mayfly/bin", "mayfly/modules"}) {
    archive.AddDirectory(directory);
  }
  archive.AddDevice("dev/console", {.major = 5, .minor = 1});
  TRY(AddHostFile(archive, "init", 0755, contents.init));
  TRY(AddHostFile(archive, "mayfly/bin/handler", 0755, contents.handler));
  for (size_t i = 0; i < contents.modules.size(); ++i) {
    const std::string& path = contents.modules[i];
    const std::string name = path.substr(path.rfind('/') + 1);
    TRY(AddHostFile(archive, fmt::format("mayfly/modules/{:03}-{}", i, name), 0644, path));
  }
  return std::move(archive).Finish();
}

}  // namespace mayfly
