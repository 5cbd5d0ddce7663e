#include "snapshot/userfaultfd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "base/file.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;

// The device first: it is open to whoever the administrator lets, the system call to root alone
// unless vm.unprivileged_userfaultfd says otherwise.
Result<UniqueFd> OpenUserfaultfd(int handed_over) {
  if (handed_over >= 0) {
    UniqueFd fd(::ioctl(handed_over, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) return FailErrno("USERFAULTFD_IOC_NEW");
    return fd;
  }
  const Result<UniqueFd> device = OpenFile("/dev/userfaultfd", O_RDWR);
  if (device) {
    UniqueFd fd(::ioctl(device->get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
    if (fd.valid()) return fd;
  }
  UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (fd.valid()) return fd;
  if (errno == EPERM) {
    return Fail(
        ErrorCode::kPermission,
        "userfaultfd: not permitted (give access to /dev/userfaultfd, or use --memory map)");
  }
  return FailErrno("userfaultfd");
}

// What to do about a page at which an ioctl stopped: nothing if it is there (EEXIST), or belongs to
// something else by now (ENOENT); try again if the kernel changes the address space (EAGAIN).
bool IsPassable(int64_t error) { return error == EEXIST || error == ENOENT; }

// Calls `fill(start, size)`, which is an ioctl that fills pages and says how many bytes it got to
// or -errno, until all of the range is done.
template <class Fill>
Result<void> FillRange(const Userfaultfd& uffd, uint64_t start, uint64_t size, const char* name,
                       Fill&& fill) {
  while (size > 0) {
    const int64_t filled = fill(start, size);
    uint64_t done = 0;
    if (filled > 0) {
      done = static_cast<uint64_t>(filled);
    } else if (IsPassable(-filled)) {
      TRY(uffd.Wake(start, kPage));
      done = kPage;
    } else if (filled != -EAGAIN) {
      return FailErrno(name, static_cast<int>(-filled));
    }
    start += done;
    size -= done;
  }
  return {};
}

}  // namespace

Result<Userfaultfd> Userfaultfd::Create(Mode mode, int device) {
  UniqueFd fd = TRY(OpenUserfaultfd(device));
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = mode == Mode::kMinor ? UFFD_FEATURE_MINOR_SHMEM : 0;
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) return FailErrno("UFFDIO_API");
  return Userfaultfd(std::move(fd), mode);
}

Result<Userfaultfd> Userfaultfd::Adopt(UniqueFd fd) {
  std::array<char, 64> name{};
  const std::string link = fmt::format("/proc/self/fd/{}", fd.get());
  const ssize_t size = ::readlink(link.c_str(), name.data(), name.size());
  if (size < 0) return FailErrno("readlink " + link);
  if (std::string_view(name.data(), static_cast<size_t>(size)) != "anon_inode:[userfaultfd]") {
    return Fail(ErrorCode::kInvalidArgument, "the descriptor is no userfaultfd");
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return FailErrno("fcntl");
  return Userfaultfd(std::move(fd), Mode::kMissing);
}

Result<Userfaultfd> Userfaultfd::Duplicate() const {
  return Userfaultfd(TRY(fd_.Duplicate()), mode_);
}

Result<void> Userfaultfd::Register(uint64_t start, uint64_t size) const {
  uffdio_register request{};
  request.range = {start, size};
  request.mode = mode_ == Mode::kMinor ? UFFDIO_REGISTER_MODE_MINOR : UFFDIO_REGISTER_MODE_MISSING;
  if (::ioctl(fd_.get(), UFFDIO_REGISTER, &request) != 0) return FailErrno("UFFDIO_REGISTER");
  return {};
}

Result<std::vector<Userfaultfd::Fault>> Userfaultfd::Read() const {
  std::array<uffd_msg, 64> messages;
  const ssize_t size = ::read(fd_.get(), messages.data(), sizeof(messages));
  std::vector<Fault> faults;
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return faults;
  if (size < 0) return FailErrno("read userfaultfd");
  for (size_t i = 0; i < static_cast<size_t>(size) / sizeof(uffd_msg); ++i) {
    if (messages[i].event != UFFD_EVENT_PAGEFAULT) continue;
    const auto& fault = messages[i].arg.pagefault;
    faults.push_back(
        {fault.address & ~(kPage - 1), (fault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0});
  }
  return faults;
}

Result<void> Userfaultfd::Copy(uint64_t to, std::span<const uint8_t> from) const {
  const auto contents = reinterpret_cast<uint64_t>(from.data());
  return FillRange(*this, to, from.size(), "UFFDIO_COPY",
                   [&](uint64_t start, uint64_t size) -> int64_t {
                     uffdio_copy request{};
                     request.dst = start;
                     request.src = contents + (start - to);
                     request.len = size;
                     if (::ioctl(fd_.get(), UFFDIO_COPY, &request) == 0) return request.copy;
                     return request.copy > 0 ? request.copy : -errno;
                   });
}

Result<void> Userfaultfd::Continue(uint64_t start, uint64_t size) const {
  return FillRange(*this, start, size, "UFFDIO_CONTINUE",
                   [&](uint64_t at, uint64_t length) -> int64_t {
                     uffdio_continue request{};
                     request.range = {at, length};
                     if (::ioctl(fd_.get(), UFFDIO_CONTINUE, &request) == 0) return request.mapped;
                     if (request.mapped > 0) return request.mapped;
                     return errno == EFAULT ? static_cast<int64_t>(kPage) : -errno;
                   });
}

Result<void> Userfaultfd::Wake(uint64_t start, uint64_t size) const {
  uffdio_range range{start, size};
  if (::ioctl(fd_.get(), UFFDIO_WAKE, &range) != 0) return FailErrno("UFFDIO_WAKE");
  return {};
}

}  // namespace mayfly
