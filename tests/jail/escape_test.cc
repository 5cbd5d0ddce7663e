#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "jailer/seccomp.h"
#include "tests/jail/escape_attempts.h"
#include "tests/jail/in_jail.h"
#include "vmm/zygote/zygote.h"
#include "vmm/zygote/zygote_process.h"

namespace mayfly {
namespace {

struct LeftOut {
  std::string name;
  JailLayers layers;
};

JailLayers Without(bool JailLayers::* layer) {
  JailLayers layers;
  layers.*layer = false;
  return layers;
}

const std::vector<LeftOut>& Variants() {
  static const std::vector<LeftOut> kVariants{
      {"Nothing", {}},
      {"User", Without(&JailLayers::user)},
      {"Namespaces", Without(&JailLayers::namespaces)},
      {"EmptyRoot", Without(&JailLayers::empty_root)},
      {"Capabilities", Without(&JailLayers::capabilities)},
      {"Landlock", Without(&JailLayers::landlock)},
      {"Limits", Without(&JailLayers::limits)},
      {"Seccomp", Without(&JailLayers::seccomp)},
  };
  return kVariants;
}

// A process of another user to get at, and a port to connect to.
class EscapeTest : public testing::TestWithParam<std::tuple<EscapeAttempt, LeftOut>> {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoJails(); !why.empty()) GTEST_SKIP() << why;
    victim_ = ::fork();
    if (victim_ == 0) {
      ::pause();
      ::_exit(0);
    }
    listener_.Reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(listener_.valid());
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(::bind(listener_.get(), generic, length), 0);
    ASSERT_EQ(::listen(listener_.get(), 5), 0);
    ASSERT_EQ(::getsockname(listener_.get(), generic, &length), 0);
    target_ = {victim_, ntohs(address.sin_port)};
  }
  void TearDown() override {
    if (victim_ <= 0) return;
    ::kill(victim_, SIGKILL);
    ::waitpid(victim_, nullptr, 0);
  }

  pid_t victim_ = -1;
  UniqueFd listener_;
  EscapeTarget target_{};
  RecordDirectory records_;
};

TEST_P(EscapeTest, Fails) {
  const auto& [attempt, variant] = GetParam();
  JailOptions options;
  options.record_directory = records_.path();
  options.layers = variant.layers;
  const JailEnd end = RunInJail(options, [&] {
    if (options.layers.seccomp && !ApplyFilter(ThreadKind::kSupervisor)) return 2;
    return attempt.escapes(target_) ? 1 : 0;
  });
  // Refused, or ended for trying.
  const int expected = options.layers.seccomp ? 128 + SIGSYS : 0;
  EXPECT_EQ(end.status, expected);
}

// Makes its attempt in a clone, with the filter of a clone's first thread.
class EscapingClone final : public CloneBody {
 public:
  EscapingClone(const EscapeAttempt& attempt, EscapeTarget target, bool filtered)
      : attempt_(attempt), target_(target), filtered_(filtered) {}

  Result<void> Prepare() override { return {}; }
  Result<void> Run(int /*host*/, Packet /*request*/) override {
    if (filtered_ && !ApplyFilter(ThreadKind::kSupervisor)) ::_exit(2);
    ::_exit(attempt_.escapes(target_) ? 1 : 0);
  }

 private:
  const EscapeAttempt& attempt_;
  const EscapeTarget target_;
  const bool filtered_;
};

TEST_P(EscapeTest, FailsInAZygotesClone) {
  const auto& [attempt, variant] = GetParam();
  auto sockets = MakePacketSockets();
  ASSERT_TRUE(sockets);
  const pid_t supervisor = ::fork();
  if (supervisor == 0) {
    sockets->first.Reset();
    JailOptions options;
    options.record_directory = records_.path();
    options.layers = variant.layers;
    EscapingClone body(attempt, target_, options.layers.seccomp);
    ::_exit(Zygote::Run(std::move(options), {}, std::move(sockets->second), 0, &body) ? 0 : 1);
  }
  sockets->second.Reset();
  ZygoteProcess zygote(std::move(sockets->first), supervisor);
  ASSERT_TRUE(zygote.WaitReady());
  const auto clone = zygote.MakeClone({PacketKind::kClone, 0, {}});
  ASSERT_TRUE(clone);
  const auto end = ReceivePacket(clone->get());
  ASSERT_TRUE(end && *end);
  EXPECT_EQ((*end)->head.kind, PacketKind::kEnd);
  // As waitpid(2) has it: the signal, or the exit status above 8 bits.
  EXPECT_EQ((*end)->head.values[0], variant.layers.seccomp ? SIGSYS : 0);
}

// That an attempt fails says something only if it works for whoever is not locked up.
TEST_P(EscapeTest, WorksOutsideTheJail) {
  const auto& [attempt, variant] = GetParam();
  if (variant.name != "Nothing") return;
  const pid_t child = ::fork();
  if (child == 0) {
    // Its mounts are its own.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      ::_exit(2);
    }
    ::_exit(attempt.escapes(target_) ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

INSTANTIATE_TEST_SUITE_P(Without, EscapeTest,
                         testing::Combine(testing::ValuesIn(EscapeAttempts()),
                                          testing::ValuesIn(Variants())),
                         [](const auto& test) {
                           return std::get<0>(test.param).name + "_without_" +
                                  std::get<1>(test.param).name;
                         });

}  // namespace
}  // namespace mayfly
