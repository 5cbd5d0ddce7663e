#include "base/unique_fd.h"

#include <fcntl.h>

namespace mayfly {

Result<UniqueFd> UniqueFd::Duplicate() const {
  const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return FailErrno("duplicate a descriptor");
  return UniqueFd(fd);
}

}  // namespace mayfly
