#include "jailer/filter_table.h"

#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <algorithm>
#include <set>

namespace mayfly {
namespace {

constexpr unsigned kVcpu = FilterRule::Bit(ThreadKind::kVcpu);
constexpr unsigned kIo = FilterRule::Bit(ThreadKind::kIo);
constexpr unsigned kPager = FilterRule::Bit(ThreadKind::kPager);
constexpr unsigned kSupervisor = FilterRule::Bit(ThreadKind::kSupervisor);
constexpr unsigned kEveryone = kVcpu | kIo | kPager | kSupervisor;

// What the kernel takes as an int or an unsigned int: the upper half of the register is nobody's.
constexpr uint64_t kInt = 0xffffffff;
constexpr uint64_t kWhole = ~uint64_t{0};

// SIGRTMIN of the C library, which keeps two for itself: no constant to the compiler.
constexpr uint64_t kKickSignal = 34;
// KVM_SET_GSI_ROUTING; <linux/kvm.h> has another number in C++, because its structure ends in a
// flexible array.
constexpr uint64_t kSetGsiRouting = 0x4008ae6a;
constexpr uint64_t kGetMsrs = 0xc008ae88;
constexpr uint64_t kGetCpuid2 = 0xc008ae91;
// Every request of KVM's that only reads: direction and type of its number.
constexpr uint64_t kReadsMask = 0xc000ff00;
constexpr uint64_t kReads = 0x8000ae00;

constexpr uint64_t kFutexFlags = FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME;
constexpr uint64_t kReplace = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

#define CALL(name) SYS_##name, #name

// clang-format off: a rule, a line.
constexpr FilterRule kTable[] = {
    // KVM and devices.
    {kVcpu, CALL(ioctl), "runs the guest", 1, {{{1, kInt, KVM_RUN}}}},
    {kVcpu, CALL(ioctl), "the guest programs its IOAPIC", 1, {{{1, kInt, kSetGsiRouting}}}},
    {kVcpu, CALL(ioctl), "the guest accepts a tap's features", 1, {{{1, kInt, TUNSETOFFLOAD}}}},
    {kSupervisor, CALL(ioctl), "a snapshot: what KVM tells of itself", 1, {{{1, kReadsMask, kReads}}}},
    {kSupervisor, CALL(ioctl), "a snapshot: MSRs", 1, {{{1, kInt, kGetMsrs}}}},
    {kSupervisor, CALL(ioctl), "a snapshot: CPUID", 1, {{{1, kInt, kGetCpuid2}}}},
    {kSupervisor, CALL(ioctl), "a snapshot: the clock's rate", 1, {{{1, kInt, KVM_GET_TSC_KHZ}}}},
    {kPager, CALL(ioctl), "fills pages", 1, {{{1, kInt, UFFDIO_COPY}}}},
    {kPager, CALL(ioctl), "lets pages be seen", 1, {{{1, kInt, UFFDIO_CONTINUE}}}},
    {kPager, CALL(ioctl), "lets a thread try again", 1, {{{1, kInt, UFFDIO_WAKE}}}},
    // Locks. WAIT and WAKE differ in one bit.
    {kEveryone, CALL(futex), "locks", 1, {{{1, kInt & ~(kFutexFlags | FUTEX_WAKE), FUTEX_WAIT}}}},
    {kEveryone,
     CALL(futex),
     "condition variables, and the ends of threads",
     1,
     {{{1, kInt & ~kFutexFlags, FUTEX_WAIT_BITSET}}}},

    // Memory. Nothing becomes executable, and no address is chosen by the kernel.
    {kEveryone, CALL(brk), "the heap", 0, {}},
    {kIo,
     CALL(mmap),
     "the guest gives up a page of a snapshot",
     2,
     {{{2, kWhole, PROT_READ | PROT_WRITE}, {3, kInt, kReplace}}}},
    {kPager,
     CALL(mmap),
     "a page that cannot be had is never zeros",
     2,
     {{{2, kWhole, PROT_NONE}, {3, kInt, kReplace}}}},
    {kPager, CALL(mincore), "whether a pager in another process fills any pages", 0, {}},
    {kIo, CALL(madvise), "the guest gives up a page", 1, {{{2, kInt, MADV_DONTNEED}}}},
    {kIo, CALL(madvise), "a new page stays out of core dumps", 1, {{{2, kInt, MADV_DONTDUMP}}}},

    // Descriptors that were opened before.
    {kEveryone, CALL(write), "wakes other threads; the console and the log", 0, {}},
    {kPager | kSupervisor, CALL(read), "faults; signals; what is typed", 0, {}},
    {kIo, CALL(epoll_wait), "waits", 0, {}},
    {kIo | kSupervisor, CALL(epoll_ctl), "what is waited for", 0, {}},
    {kIo | kPager | kSupervisor, CALL(poll), "waits; the console takes no more", 0, {}},
    {kEveryone, CALL(preadv2), "is woken; disks, taps, memory files", 0, {}},
    {kIo | kSupervisor, CALL(pwritev2), "disks and taps; a snapshot's memory", 0, {}},
    {kIo, CALL(fdatasync), "disks", 0, {}},
    {kIo, CALL(fallocate), "disks: discarding, and zeroes", 0, {}},
    {kIo, CALL(recvmsg), "streams", 0, {}},
    {kIo, CALL(sendmsg), "streams", 0, {}},
    {kIo, CALL(shutdown), "streams", 0, {}},
    {kIo, CALL(close), "streams", 0, {}},

    // The process itself.
    {kIo | kSupervisor, CALL(getrandom), "the guest's entropy; its next life", 0, {}},
    // Where the clock source has no fast path, the C library asks the kernel.
    {kEveryone, CALL(clock_gettime), "time", 0, {}},
    // Signals: to leave the guest; and where a page of the guest's is gone.
    {kVcpu | kIo | kSupervisor, CALL(rt_sigreturn), "goes on after a signal", 0, {}},
    {kSupervisor, CALL(tgkill), "tells a vCPU to leave the guest", 1, {{{2, kInt, kKickSignal}}}},
    // Made by the kernel, when a wait with a time-out goes on after SIGSTOP and SIGCONT.
    {kPager | kSupervisor, CALL(restart_syscall), "goes on after a stop", 0, {}},
    {kEveryone, CALL(exit), "ends a thread", 0, {}},
    {kSupervisor, CALL(exit_group), "ends the process", 0, {}},
};
// clang-format on

#undef CALL

// The system calls that take a path, or a socket's address, which can be one.
constexpr int kPathTaking[] = {
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_execve, SYS_truncate, SYS_chdir, SYS_rename,
    SYS_mkdir, SYS_rmdir, SYS_creat, SYS_link, SYS_unlink, SYS_symlink, SYS_readlink, SYS_chmod,
    SYS_chown, SYS_lchown, SYS_utime, SYS_mknod, SYS_uselib, SYS_statfs, SYS_pivot_root, SYS_chroot,
    SYS_acct, SYS_mount, SYS_umount2, SYS_swapon, SYS_swapoff, SYS_quotactl, SYS_setxattr,
    SYS_lsetxattr, SYS_getxattr, SYS_lgetxattr, SYS_listxattr, SYS_llistxattr, SYS_removexattr,
    SYS_lremovexattr, SYS_utimes, SYS_mq_open, SYS_mq_unlink, SYS_inotify_add_watch, SYS_openat,
    SYS_mkdirat, SYS_mknodat, SYS_fchownat, SYS_futimesat, SYS_newfstatat, SYS_unlinkat,
    SYS_renameat, SYS_linkat, SYS_symlinkat, SYS_readlinkat, SYS_fchmodat, SYS_faccessat,
    SYS_utimensat, SYS_fanotify_mark, SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_renameat2,
    SYS_execveat, SYS_statx, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fspick,
    SYS_openat2, SYS_faccessat2, SYS_mount_setattr, SYS_connect, SYS_bind, SYS_sendto,
    // Opens paths for whoever has a ring, past every filter.
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};

}  // namespace

std::span<const FilterRule> FilterTable() { return kTable; }

FilterCounts CountFilters() {
  FilterCounts counts;
  std::array<std::set<int>, kThreadKinds.size()> of_kind;
  std::set<int> all;
  for (const FilterRule& rule : kTable) {
    all.insert(rule.number);
    for (const ThreadKind kind : kThreadKinds) {
      if (!rule.AppliesTo(kind)) continue;
      of_kind[static_cast<size_t>(kind)].insert(rule.number);
      ++counts.rules;
    }
  }
  counts.vcpu = of_kind[static_cast<size_t>(ThreadKind::kVcpu)].size();
  counts.io = of_kind[static_cast<size_t>(ThreadKind::kIo)].size();
  counts.pager = of_kind[static_cast<size_t>(ThreadKind::kPager)].size();
  counts.all = all.size();
  counts.path = static_cast<size_t>(std::ranges::count_if(
      all, [](int number) { return std::ranges::count(kPathTaking, number) != 0; }));
  return counts;
}

}  // namespace mayfly
