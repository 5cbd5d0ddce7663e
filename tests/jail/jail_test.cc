#include "jailer/jail.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/file.h"
#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

// What a step of the jail promises, looked at from inside. The status of a body is 0 if it holds.
class JailTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoJails(); !why.empty()) GTEST_SKIP() << why;
  }

  JailOptions Options() {
    JailOptions options;
    options.record_directory = records_.path();
    return options;
  }
  int StatusIn(const std::function<int()>& body) { return RunInJail(Options(), body).status; }

  RecordDirectory records_;
};

TEST_F(JailTest, HandsOnTheStatusOfWhatRunsInIt) {
  EXPECT_EQ(StatusIn([] { return 42; }), 42);
}

TEST_F(JailTest, TellsOfTheSignalThatEndedIt) {
  const JailEnd end = RunInJail(Options(), [] {
    __builtin_trap();
    return 0;
  });
  EXPECT_EQ(end.signal, SIGILL);
  EXPECT_EQ(end.status, 128 + SIGILL);
  EXPECT_FALSE(end.out_of_memory);
}

TEST_F(JailTest, NoDescriptorIsInheritedButThoseThatAreHandedOver) {
  const UniqueFd secret(::open("/etc/passwd", O_RDONLY));
  const UniqueFd handed_over(::open("/etc/passwd", O_RDONLY));
  const int keep = handed_over.get();
  const JailEnd end = RunInJail(
      Options(),
      [&] {
        int open = 0;
        for (int fd = 3; fd < 1000; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        // The one that was handed over, and what tells of the supervisor's end.
        return open == 2 && ::fcntl(keep, F_GETFD) >= 0 && ::fcntl(secret.get(), F_GETFD) < 0 ? 0
                                                                                              : 1;
      },
      {keep});
  EXPECT_EQ(end.status, 0);
}

TEST_F(JailTest, NothingOfTheEnvironmentIsLeftInMemory) {
  std::string entry = "MAYFLY_TEST_SECRET=correct-horse";
  char* const text = entry.data();
  ::putenv(text);
  const int status = StatusIn([&] {
    const bool gone = ::getenv("MAYFLY_TEST_SECRET") == nullptr;
    return gone && std::string_view(text, entry.size()).find_first_not_of('\0') ==
                       std::string_view::npos
               ? 0
               : 1;
  });
  ::unsetenv("MAYFLY_TEST_SECRET");
  EXPECT_EQ(status, 0);
}

TEST_F(JailTest, TheRootIsEmptyAndCannotBeWrittenTo) {
  EXPECT_EQ(StatusIn([] {
              struct stat root{};
              if (::stat("/", &root) != 0 || root.st_nlink > 2) return 1;
              if (::open("/x", O_CREAT | O_WRONLY, 0600) >= 0) return 2;
              return ::open("/proc/self/maps", O_RDONLY) < 0 ? 0 : 3;
            }),
            0);
}

TEST_F(JailTest, TheHostsRootIsNotMountedAnyMore) {
  JailOptions options = Options();
  options.layers.landlock = false;
  const JailEnd end = RunInJail(options, [] {
    const std::unique_ptr<DIR, int (*)(DIR*)> root(::opendir("/"), &::closedir);
    if (!root) return 1;
    int entries = 0;
    while (::readdir(root.get()) != nullptr) ++entries;
    return entries == 2 && ::access("/..", F_OK) == 0 && ::access("/../etc", F_OK) != 0 ? 0 : 2;
  });
  EXPECT_EQ(end.status, 0);
}

TEST_F(JailTest, HasAUserOfItsOwnAndNoGroups) {
  JailOptions options = Options();
  options.user = JailUser{1234567, 7654321};
  const JailEnd end = RunInJail(options, [] {
    uid_t real = 0;
    uid_t effective = 0;
    uid_t saved = 0;
    ::getresuid(&real, &effective, &saved);
    if (real != 1234567 || effective != real || saved != real) return 1;
    return ::getgid() == 7654321 && ::getgroups(0, nullptr) == 0 ? 0 : 2;
  });
  EXPECT_EQ(end.status, 0);
}

TEST_F(JailTest, IsTheFirstProcessOfItsNamespace) {
  EXPECT_EQ(StatusIn([] { return ::getpid() == 1 && ::getppid() == 0 ? 0 : 1; }), 0);
}

TEST_F(JailTest, HasNoNetworkButALoopbackThatIsDown) {
  EXPECT_EQ(StatusIn([] {
              const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> interfaces(
                  ::if_nameindex(), &::if_freenameindex);
              if (!interfaces) return 1;
              return std::string_view(interfaces.get()[0].if_name) == "lo" &&
                             interfaces.get()[1].if_index == 0
                         ? 0
                         : 2;
            }),
            0);
}

TEST_F(JailTest, DoesNotKnowTheHostsName) {
  EXPECT_EQ(StatusIn([] {
              utsname name{};
              return ::uname(&name) == 0 && std::strcmp(name.nodename, "jail") == 0 ? 0 : 1;
            }),
            0);
}

TEST_F(JailTest, HasNoCapabilityInAnyOfTheFiveSets) {
  EXPECT_EQ(StatusIn([] {
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              __user_cap_data_struct sets[2]{};
              if (::syscall(SYS_capget, &header, sets) != 0) return 1;
              for (const auto& set : sets) {
                if (set.effective != 0 || set.permitted != 0 || set.inheritable != 0) return 2;
              }
              for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
                if (::prctl(PR_CAPBSET_READ, capability) == 1) return 3;
                if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) != 0) return 4;
              }
              return 0;
            }),
            0);
}

TEST_F(JailTest, GetsNoNewPrivilegesEvenWithoutFilters) {
  JailOptions options = Options();
  options.layers.seccomp = false;
  EXPECT_EQ(RunInJail(options, [] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1; })
                .status,
            0);
}

TEST_F(JailTest, CannotBeDumpedOrTraced) {
  EXPECT_EQ(StatusIn([] { return ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 1; }), 0);
}

TEST_F(JailTest, MemoryThatWasWritableNeverBecomesCode) {
  EXPECT_EQ(StatusIn([] {
              void* const page =
                  ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              if (::prctl(66 /* PR_GET_MDWE */, 0, 0, 0, 0) < 1) return 0;  // Before Linux 6.3.
              return ::mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0 ? 0 : 1;
            }),
            0);
}

TEST_F(JailTest, HasLimitsOfItsOwn) {
  JailOptions options = Options();
  options.process = {100, 4096};
  const JailEnd end = RunInJail(options, [] {
    const auto is = [](__rlimit_resource_t resource, rlim_t value) {
      rlimit limit{};
      return ::getrlimit(resource, &limit) == 0 && limit.rlim_cur == value &&
             limit.rlim_max == value;
    };
    return is(RLIMIT_CORE, 0) && is(RLIMIT_MEMLOCK, 0) && is(RLIMIT_NOFILE, 100) &&
                   is(RLIMIT_FSIZE, 4096)
               ? 0
               : 1;
  });
  EXPECT_EQ(end.status, 0);
}

TEST_F(JailTest, AFileThatIsTooLargeIsAnErrorAndNoSignal) {
  JailOptions options = Options();
  options.process.file_bytes = 4096;
  const UniqueFd disk(::open((records_.path() + "/disk").c_str(), O_CREAT | O_RDWR, 0600));
  const int fd = disk.get();
  const JailEnd end = RunInJail(
      options, [fd] { return ::pwrite(fd, "x", 1, 4096) < 0 && errno == EFBIG ? 0 : 1; }, {fd});
  EXPECT_EQ(end.status, 0);
}

TEST_F(JailTest, EndsWithItsSupervisor) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t supervisor = ::fork();
  if (supervisor == 0) {
    auto jail = Jail::Create(Options());
    const int writer = ends[1];
    const auto started = (*jail)->Start({writer}, [writer] {
      IgnoreFailure(WriteAll(writer, AsBytes("x"), "pipe"));
      ::pause();
      return 0;
    });
    ::close(writer);
    ::pause();
  }
  ::close(ends[1]);
  char byte = 0;
  ASSERT_EQ(::read(ends[0], &byte, 1), 1);  // It is in the jail, and waits.
  ::kill(supervisor, SIGKILL);
  // The end of the pipe is the end of the jailed process, which alone has the other side by then.
  EXPECT_EQ(::read(ends[0], &byte, 1), 0);
  ::waitpid(supervisor, nullptr, 0);
  ::close(ends[0]);
  EXPECT_EQ(CollectJails(records_.path()).value().removed, 1U);
}

TEST_F(JailTest, LeavesNothingBehind) {
  JailOptions options = Options();
  options.cgroup.memory_bytes = 64 << 20;
  options.cgroup.processes = 10;
  const auto places =
      Cgroup::PlacesFor(CgroupMounts::OfThisProcess().value(), options.id, options.cgroup);
  if (!places) GTEST_SKIP() << places.error().message();
  EXPECT_EQ(RunInJail(options, [] { return 0; }).status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(records_.path()));
  for (const Cgroup::Place& place : *places) {
    EXPECT_FALSE(std::filesystem::exists(place.mount + "/" + place.path));
  }
}

}  // namespace
}  // namespace mayfly
