#include "vmm/function/initrd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>

#include "base/arithmetic.h"
#include "base/file.h"
#include "base/unique_fd.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostFileBytes = 64 << 20;
constexpr size_t kCpioAlignment = 4;
// The kernel takes an initrd in pages.
constexpr size_t kArchiveAlignment = 4096;
constexpr size_t kRoomForNames = size_t{64} * 1024;

struct Device {
  uint32_t major = 0;
  uint32_t minor = 0;
};

class CpioArchive {
 public:
  // With room for files of `bytes` bytes: copying them again and again as the archive grows would
  // take longer than reading them.
  explicit CpioArchive(size_t bytes) { bytes_.reserve(bytes + kRoomForNames); }
  void AddDirectory(std::string_view name) { Add(name, S_IFDIR | 0755, {}, 0); }
  void AddDevice(std::string_view name, Device device) { Add(name, S_IFCHR | 0600, device, 0); }
  // Returns where its contents belong, until something else is added.
  std::span<uint8_t> AddFile(std::string_view name, mode_t mode, size_t size) {
    return Add(name, S_IFREG | mode, {}, size);
  }
  std::vector<uint8_t> Finish() && {
    inode_ = 0;
    Add("TRAILER!!!", 0, {}, 0);
    bytes_.resize(AlignUp(bytes_.size(), kArchiveAlignment));
    return std::move(bytes_);
  }

 private:
  std::span<uint8_t> Add(std::string_view name, mode_t mode, Device device, size_t size) {
    const uint32_t links = S_ISDIR(mode) ? 2 : 1;
    // magic, ino, mode, uid, gid, nlink, mtime, filesize, major, minor, rmajor, rminor, namesize,
    // check
    fmt::format_to(std::back_inserter(bytes_),
                   "070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}"
                   "{:08x}",
                   inode_++, mode, 0, 0, links, 0, size, 0, 0, device.major, device.minor,
                   name.size() + 1, 0);
    bytes_.insert(bytes_.end(), name.begin(), name.end());
    bytes_.push_back(0);
    bytes_.resize(AlignUp(bytes_.size(), kCpioAlignment));
    const size_t contents = bytes_.size();
    bytes_.resize(AlignUp(contents + size, kCpioAlignment));
    return std::span(bytes_).subspan(contents, size);
  }

  std::vector<uint8_t> bytes_;
  uint32_t inode_ = 1;
};

struct HostFile {
  std::string name;
  mode_t mode = 0;
  std::string path;
};

std::vector<HostFile> FilesOf(const InitrdContents& contents) {
  std::vector<HostFile> files{{"init", 0755, contents.init},
                              {"mayfly/bin/handler", 0755, contents.handler}};
  for (size_t i = 0; i < contents.modules.size(); ++i) {
    const std::string& path = contents.modules[i];
    const std::string name = path.substr(path.rfind('/') + 1);
    files.push_back({fmt::format("mayfly/modules/{:03}-{}", i, name), 0644, path});
  }
  return files;
}

// How long they are together, as far as that can be said before they are opened.
size_t RoomFor(const std::vector<HostFile>& files) {
  size_t bytes = 0;
  for (const HostFile& file : files) {
    struct stat status{};
    if (::stat(file.path.c_str(), &status) != 0) continue;
    bytes += static_cast<size_t>(std::min<uint64_t>(status.st_size, kMostFileBytes));
  }
  return bytes;
}

Result<void> AddFile(const HostFile& file, CpioArchive* archive) {
  const UniqueFd fd = TRY(OpenFile(file.path, O_RDONLY));
  const uint64_t size = TRY(FileSize(fd.get(), file.path));
  if (size > kMostFileBytes) {
    return Fail(ErrorCode::kTooLarge,
                fmt::format("{}: {} bytes, {} are the most", file.path, size, kMostFileBytes));
  }
  return ReadExactAt(fd.get(), archive->AddFile(file.name, file.mode, size), 0, file.path);
}

}  // namespace

Result<std::vector<uint8_t>> BuildInitrd(const InitrdContents& contents) {
  const std::vector<HostFile> files = FilesOf(contents);
  CpioArchive archive(RoomFor(files));
  for (const char* directory :
       {"dev", "proc", "sys", "run", "tmp", "mnt", "mayfly", "mayfly/bin", "mayfly/modules"}) {
    archive.AddDirectory(directory);
  }
  archive.AddDevice("dev/console", {.major = 5, .minor = 1});
  for (const HostFile& file : files) TRY(WithContext(AddFile(file, &archive), "initrd"));
  return std::move(archive).Finish();
}

}  // namespace mayfly
