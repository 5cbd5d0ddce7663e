#include "tests/jail/escape_attempts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>

#include "base/unique_fd.h"

namespace mayfly {
namespace {

bool MakesADevice(const EscapeTarget& /*target*/) {
  const char* const path = "/tmp/mayfly-escape-device";
  ::unlink(path);
  const bool made = ::mknod(path, S_IFCHR | 0600, makedev(1, 1)) == 0;
  ::unlink(path);
  return made;
}

bool Mounts(const EscapeTarget& /*target*/) {
  return ::mount("proc", "/", "tmpfs", 0, nullptr) == 0;
}

bool ChangesItsRoot(const EscapeTarget& /*target*/) { return ::chroot("/") == 0; }

bool TracesAnother(const EscapeTarget& target) {
  if (::ptrace(PTRACE_SEIZE, target.process, 0, 0) != 0) return false;
  ::ptrace(PTRACE_DETACH, target.process, 0, 0);
  return true;
}

bool SignalsAnother(const EscapeTarget& target) { return ::kill(target.process, SIGCONT) == 0; }

bool ReadsAnothersMemory(const EscapeTarget& target) {
  const std::string path = "/proc/" + std::to_string(target.process) + "/environ";
  const UniqueFd file(::open(path.c_str(), O_RDONLY));
  return file.valid();
}

bool ReadsAFile(const EscapeTarget& /*target*/) {
  return UniqueFd(::open("/etc/passwd", O_RDONLY)).valid();
}

bool WritesAFile(const EscapeTarget& /*target*/) {
  const char* const path = "/tmp/mayfly-escape-file";
  const UniqueFd file(::open(path, O_CREAT | O_WRONLY, 0600));
  ::unlink(path);
  return file.valid();
}

bool OpensADevice(const EscapeTarget& /*target*/) {
  return UniqueFd(::open("/dev/null", O_RDWR)).valid();
}

bool ConnectsOverTcp(const EscapeTarget& target) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
  if (!socket.valid()) return false;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(target.tcp_port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// Sets the loopback interface up, which takes CAP_NET_ADMIN and changes nothing at the host.
bool ChangesTheNetwork(const EscapeTarget& /*target*/) {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  if (!socket.valid()) return false;
  struct {
    nlmsghdr header{};
    ifinfomsg link{};
  } request;
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_SETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.link.ifi_index = 1;
  request.link.ifi_flags = IFF_UP;
  request.link.ifi_change = IFF_UP;
  if (::send(socket.get(), &request, sizeof(request), 0) < 0) return false;
  struct {
    nlmsghdr header{};
    nlmsgerr error{};
    std::array<char, 256> rest;
  } answer;
  return ::recv(socket.get(), &answer, sizeof(answer), 0) > 0 && answer.error.error == 0;
}

bool MakesAUserNamespace(const EscapeTarget& /*target*/) { return ::unshare(CLONE_NEWUSER) == 0; }

// A program for the kernel's tracing: "return 0".
bool LoadsABpfProgram(const EscapeTarget& /*target*/) {
  const std::array<bpf_insn, 2> program{
      {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}}};
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_TRACEPOINT;
  attributes.insn_cnt = program.size();
  attributes.insns = reinterpret_cast<uint64_t>(program.data());
  attributes.license = reinterpret_cast<uint64_t>("GPL");
  return ::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes)) >= 0;
}

// What is opened through a ring passes no filter.
bool OpensAFileThroughIoUring(const EscapeTarget& /*target*/) {
  io_uring_params parameters{};
  const UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  if (!ring.valid()) return false;
  auto* const rings = static_cast<uint8_t*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), IORING_OFF_SQ_RING));
  auto* const entry = static_cast<io_uring_sqe*>(
      ::mmap(nullptr, sizeof(io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(),
             static_cast<off_t>(IORING_OFF_SQES)));
  entry->opcode = IORING_OP_OPENAT;
  entry->fd = AT_FDCWD;
  entry->addr = reinterpret_cast<uint64_t>("/etc/passwd");
  entry->open_flags = O_RDONLY;
  *reinterpret_cast<uint32_t*>(rings + parameters.sq_off.array) = 0;
  std::atomic_ref(*reinterpret_cast<uint32_t*>(rings + parameters.sq_off.tail)).store(1);
  if (::syscall(SYS_io_uring_enter, ring.get(), 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != 1) {
    return false;
  }
  const auto* const completion =
      reinterpret_cast<const io_uring_cqe*>(rings + parameters.cq_off.cqes);
  return completion->res >= 0;
}

bool RunsAProgram(const EscapeTarget& /*target*/) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/true", "true", nullptr);
    ::_exit(1);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

bool BecomesRoot(const EscapeTarget& /*target*/) { return ::setuid(0) == 0; }

bool EntersTheHostsNamespaces(const EscapeTarget& target) {
  const std::string path = "/proc/" + std::to_string(target.process) + "/ns/net";
  const UniqueFd space(::open(path.c_str(), O_RDONLY));
  return ::setns(space.get(), CLONE_NEWNET) == 0;
}

}  // namespace

const std::vector<EscapeAttempt>& EscapeAttempts() {
  static const std::vector<EscapeAttempt> kAttempts{
      {"mknod", &MakesADevice},
      {"mount", &Mounts},
      {"chroot", &ChangesItsRoot},
      {"ptrace", &TracesAnother},
      {"kill", &SignalsAnother},
      {"proc", &ReadsAnothersMemory},
      {"open", &ReadsAFile},
      {"create", &WritesAFile},
      {"device", &OpensADevice},
      {"tcp", &ConnectsOverTcp},
      {"netlink", &ChangesTheNetwork},
      {"userns", &MakesAUserNamespace},
      {"bpf", &LoadsABpfProgram},
      {"io_uring", &OpensAFileThroughIoUring},
      {"execve", &RunsAProgram},
      {"setuid", &BecomesRoot},
      {"setns", &EntersTheHostsNamespaces},
  };
  return kAttempts;
}

}  // namespace mayfly
