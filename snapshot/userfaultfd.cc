#include "snapshot/userfaultfd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "base/file.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;

// The device first: it is open to whoever the administrator lets, the system call to root alone
// unless vm.unprivileged_userfaultfd says otherwise.
Result<UniqueFd> OpenUserfaultfd() {
  const Result<UniqueFd> device = OpenFile("/dev/userfaultfd", O_RDWR);
  if (device) {
    UniqueFd fd(::ioctl(device->get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
    if (fd.valid()) return fd;
  }
  UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (fd.valid()) return fd;
  if (errno == EPERM) {
    return Fail(ErrorCode::kPermission,
                "userfaultfd: not permitted (give access to /dev/userfaultfd, or use --memory map)");
  }
  return FailErrno("userfaultfd");
}

uint64_t AddressOf(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// What to do about a page at which an ioctl stopped: nothing if it is there (EEXIST), or belongs to
// something else by now (ENOENT); try again if the kernel changes the address space (EAGAIN).
bool IsPassable(int64_t error) { return error == EEXIST || error == ENOENT; }

}  // namespace

Result<Userfaultfd> Userfaultfd::Create() {
  UniqueFd fd = TRY(OpenUserfaultfd());
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_THREAD_ID;
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) return FailErrno("UFFDIO_API");
  return Userfaultfd(std::move(fd));
}

Result<void> Userfaultfd::Register(uint8_t* start, uint64_t size) const {
  uffdio_register request{};
  request.range = {AddressOf(start), size};
  request.mode = UFFDIO_REGISTER_MODE_MISSING;
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
    faults.push_back({reinterpret_cast<uint8_t*>(fault.address & ~(kPage - 1)), fault.feat.ptid,
                      (fault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0});
  }
  return faults;
}

Result<void> Userfaultfd::Copy(uint8_t* to, std::span<const uint8_t> from) const {
  while (!from.empty()) {
    uffdio_copy request{};
    request.dst = AddressOf(to);
    request.src = AddressOf(from.data());
    request.len = from.size();
    uint64_t done = from.size();
    if (::ioctl(fd_.get(), UFFDIO_COPY, &request) != 0) {
      if (request.copy > 0) {
        done = static_cast<uint64_t>(request.copy);
      } else if (IsPassable(errno)) {
        TRY(Wake(to, kPage));
        done = kPage;
      } else if (errno == EAGAIN) {
        done = 0;
      } else {
        return FailErrno("UFFDIO_COPY");
      }
    }
    to += done;
    from = from.subspan(done);
  }
  return {};
}

Result<void> Userfaultfd::Zero(uint8_t* start, uint64_t size) const {
  while (size > 0) {
    uffdio_zeropage request{};
    request.range = {AddressOf(start), size};
    uint64_t done = size;
    if (::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &request) != 0) {
      if (request.zeropage > 0) {
        done = static_cast<uint64_t>(request.zeropage);
      } else if (IsPassable(errno)) {
        TRY(Wake(start, kPage));
        done = kPage;
      } else if (errno == EAGAIN) {
        done = 0;
      } else {
        return FailErrno("UFFDIO_ZEROPAGE");
      }
    }
    start += done;
    size -= done;
  }
  return {};
}

Result<void> Userfaultfd::Wake(uint8_t* start, uint64_t size) const {
  uffdio_range range{AddressOf(start), size};
  if (::ioctl(fd_.get(), UFFDIO_WAKE, &range) != 0) return FailErrno("UFFDIO_WAKE");
  return {};
}

}  // namespace mayfly
