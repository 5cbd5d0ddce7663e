#include "snapshot/verified_stamp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

namespace mayfly {

Result<VerifiedStamps> VerifiedStamps::Open(const std::string& directory) {
  for (size_t slash = directory.find('/', 1); slash != std::string::npos;
       slash = directory.find('/', slash + 1)) {
    (void)::mkdir(directory.substr(0, slash).c_str(), 0700);
  }
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return FailErrno("create " + directory);
  }
  struct stat status{};
  if (::lstat(directory.c_str(), &status) != 0) return FailErrno("stat " + directory);
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 022) != 0) {
    return Fail(ErrorCode::kPermission,
                directory + ": not a directory that this user alone can write to");
  }
  return VerifiedStamps(directory);
}

Result<std::string> VerifiedStamps::StampOf(std::span<const int> fds,
                                            const Sha256Digest& manifest) {
  std::string identity;
  for (const int fd : fds) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return FailErrno("stat memory");
    identity += fmt::format("{} {} {} {}.{} {}.{} ", status.st_dev, status.st_ino, status.st_size,
                            status.st_ctim.tv_sec, status.st_ctim.tv_nsec, status.st_mtim.tv_sec,
                            status.st_mtim.tv_nsec);
  }
  identity += ToHex(manifest);
  return ToHex(DigestOf(AsBytes(identity)));
}

bool VerifiedStamps::Has(const std::string& stamp) const {
  const std::string path = directory_ + "/" + stamp;
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         status.st_uid == ::geteuid();
}

Result<void> VerifiedStamps::Add(const std::string& stamp) const {
  TRY(OpenFile(directory_ + "/" + stamp, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600));
  return {};
}

}  // namespace mayfly
