#include "guest-init/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string_view>

#include "base/file.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

constexpr char kImage[] = "/run/mayfly/image";
constexpr char kLayer[] = "/run/mayfly/layer";
constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV;

Result<void> Directory(const std::string& path, mode_t mode = 0755) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return FailErrno("mkdir " + path);
  return {};
}

Result<void> Mount(const char* source, const std::string& target, const char* type,
                   unsigned long flags, const std::string& options = "") {
  TRY(Directory(target));
  if (::mount(source, target.c_str(), type, flags, options.c_str()) != 0) {
    return FailErrno("mount " + target);
  }
  return {};
}

Result<void> BindReadOnly(const char* source, const std::string& target) {
  TRY(Mount(source, target, nullptr, MS_BIND));
  return Mount(source, target, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | kPlain);
}

std::string SizeOption(uint64_t bytes) { return ",size=" + std::to_string(bytes); }

struct Device {
  const char* name;
  unsigned major;
  unsigned minor;
};

// What programs expect to be there, and nothing that leads to the machine's hardware.
Result<void> FillDev(const std::string& dev) {
  constexpr Device kDevices[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                                 {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  for (const Device& device : kDevices) {
    const std::string path = dev + "/" + device.name;
    if (::mknod(path.c_str(), S_IFCHR | 0666, ::makedev(device.major, device.minor)) != 0 ||
        ::chmod(path.c_str(), 0666) != 0) {
      return FailErrno("mknod " + path);
    }
  }
  constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},
                                       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"},
                                       {"/proc/self/fd/2", "stderr"},
                                       {"pts/ptmx", "ptmx"}};
  for (const auto& [target, name] : kLinks) {
    if (::symlink(target, (dev + "/" + name).c_str()) != 0) return FailErrno("symlink in /dev");
  }
  // A kernel without pseudo-terminals is good enough for most functions.
  IgnoreFailure(Mount("devpts", dev + "/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                      "newinstance,ptmxmode=0666,mode=0620"));
  return {};
}

}  // namespace

Result<void> MountSystem() {
  TRY(Mount("proc", "/proc", "proc", kPlain | MS_NOEXEC));
  TRY(Mount("sysfs", "/sys", "sysfs", kPlain | MS_NOEXEC));
  // A kernel with CONFIG_DEVTMPFS_MOUNT may have done it, but not for an initrd.
  TRY(Mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID));
  TRY(Mount("tmpfs", "/run", "tmpfs", kPlain, "mode=0755"));
  TRY(Mount("tmpfs", "/tmp", "tmpfs", kPlain, "mode=1777"));
  TRY(Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", kPlain | MS_NOEXEC));
  return Directory("/run/mayfly");
}

Result<void> MountFunction(const std::string& device, uint64_t memory_bytes) {
  TRY(Mount(device.c_str(), kImage, "erofs", MS_RDONLY | kPlain));
  // Half of the memory for /tmp as Lambda's users know it, a quarter for changes elsewhere, an
  // eighth for shared memory: together still less than what the handler's group may use.
  TRY(Mount("tmpfs", kLayer, "tmpfs", kPlain, "mode=0755" + SizeOption(memory_bytes / 4)));
  const std::string layer = kLayer;
  TRY(Directory(layer + "/upper"));
  TRY(Directory(layer + "/work"));
  TRY(Mount("overlay", kFunctionRoot, "overlay", kPlain,
            "lowerdir=" + std::string(kImage) + ",upperdir=" + layer + "/upper,workdir=" + layer +
                "/work"));
  const std::string root = kFunctionRoot;
  TRY(Mount("proc", root + "/proc", "proc", kPlain | MS_NOEXEC, "hidepid=2"));
  constexpr const char* kKernelsBootId = "/proc/sys/kernel/random/boot_id";
  const UniqueFd boot_id = TRY(OpenFile(kBootId, O_WRONLY | O_CREAT | O_TRUNC, 0444));
  const std::string kernels_boot_id = TRY(ReadText(kKernelsBootId));
  TRY(WriteAll(boot_id.get(), AsBytes(kernels_boot_id), kBootId));
  TRY(BindReadOnly(kBootId, root + kKernelsBootId));
  TRY(Mount("sysfs", root + "/sys", "sysfs", kPlain | MS_NOEXEC | MS_RDONLY));
  TRY(Mount("tmpfs", root + "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=65536"));
  TRY(FillDev(root + "/dev"));
  TRY(Mount("tmpfs", root + "/dev/shm", "tmpfs", kPlain,
            "mode=1777" + SizeOption(memory_bytes / 8)));
  TRY(Mount("tmpfs", root + "/tmp", "tmpfs", kPlain, "mode=1777" + SizeOption(memory_bytes / 2)));
  TRY(Directory(root + "/var"));
  TRY(Directory(root + "/var/task"));
  TRY(Directory(root + "/run"));
  TRY(Directory(root + "/run/mayfly"));
  return BindReadOnly("/mayfly/bin", root + "/run/mayfly/bin");
}

}  // namespace mayfly::init
