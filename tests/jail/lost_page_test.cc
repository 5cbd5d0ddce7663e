#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>

#include "base/mapping.h"
#include "base/thread.h"
#include "jailer/seccomp.h"
#include "snapshot/memory_template.h"
#include "vmm/memory/guarded_access.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = 4096;

// What a process of its own exits with, or 128 and the signal that ended it.
int StatusOf(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Pages behind which there is no file any more.
Result<Mapping> LostPages() {
  const UniqueFd file(::memfd_create("lost", MFD_CLOEXEC));
  if (!file.valid()) return FailErrno("memfd_create");
  if (::ftruncate(file.get(), kPage) != 0) return FailErrno("ftruncate");
  Mapping pages = TRY(Mapping::File(file.get(), 0, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE));
  if (::ftruncate(file.get(), 0) != 0) return FailErrno("ftruncate");
  return pages;
}

// Reads a lost page on a thread with a filter: 0 if that is an error and nothing else.
int ReadLostPage(ThreadKind kind) {
  PrepareForFilters();
  InstallGuardedAccess();
  const auto pages = LostPages();
  if (!pages) return 2;
  bool read = true;
  Thread thread("filtered", [&] {
    if (!ApplyFilter(kind)) return;
    uint64_t value = 0;
    read = GuardedCopy(&value, pages->data(), sizeof(value));
  });
  thread.Join();
  return read ? 1 : 0;
}

TEST(LostPageTest, AFilteredVcpuThreadFindsOutAndLives) {
  EXPECT_EQ(StatusOf([] { return ReadLostPage(ThreadKind::kVcpu); }), 0);
}

TEST(LostPageTest, AFilteredIoThreadFindsOutAndLives) {
  EXPECT_EQ(StatusOf([] { return ReadLostPage(ThreadKind::kIo); }), 0);
}

// A template's pages are there already, and are mapped by UFFDIO_CONTINUE.
int ReadThroughFilteredPager() {
  PrepareForFilters();
  UniqueFd file(::memfd_create("template", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  constexpr uint64_t kBytes = 64 << 20;
  if (::ftruncate(file.get(), kBytes) != 0 || ::pwrite(file.get(), "here", 4, 3 * kPage) != 4) {
    return 2;
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
    return 2;
  }
  const auto memory = MemoryTemplate::Adopt(std::move(file), kBytes);
  if (!memory) return 3;
  MemoryOptions options;
  options.way = MemoryWay::kUffd;
  options.pager.on_start = [] {
    if (!ApplyFilter(ThreadKind::kPager)) ::_exit(4);
  };
  const auto clone = (*memory)->Clone(options);
  if (!clone) return 5;
  std::array<uint8_t, 4> bytes{};
  if (!clone->memory->Read(GuestAddress{3 * kPage}, bytes)) return 6;
  // Behind a filter nothing can be taken down.
  ::_exit(std::memcmp(bytes.data(), "here", 4) == 0 ? 0 : 7);
}

TEST(LostPageTest, AFilteredPagerServesATemplate) {
  EXPECT_EQ(StatusOf(ReadThroughFilteredPager), 0);
}

}  // namespace
}  // namespace mayfly
