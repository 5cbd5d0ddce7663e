#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>
#include <set>
#include <thread>

#include "base/file.h"
#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

constexpr int kCycles = 1000;

// Supervisors that are killed at any moment, and what is left of their jails.
class KillTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoJails(); !why.empty()) GTEST_SKIP() << why;
    options_.record_directory = records_.path();
    options_.cgroup.memory_bytes = 64 << 20;
    options_.cgroup.processes = 10;
    options_.user = JailUser{kUser, kUser};
    options_.sockets = {socket_};
    // Whoever loses its supervisor becomes this process's child.
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    const auto places =
        Cgroup::PlacesFor(CgroupMounts::OfThisProcess().value(), options_.id, options_.cgroup);
    if (!places) GTEST_SKIP() << places.error().message();
    places_ = *places;
  }

  // Starts a jail over and over, in a process that dies of it.
  [[noreturn]] void Supervise() const {
    while (true) {
      const auto jail = Jail::Create(options_);
      if (!jail) ::_exit(1);
      const UniqueFd listener = Listen();
      if ((*jail)->Start({listener.get()}, [] { return 0; })) IgnoreFailure((*jail)->Wait());
      fs::remove(socket_);
    }
  }
  [[nodiscard]] UniqueFd Listen() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(socket_, static_cast<char*>(address.sun_path));
    if (!socket.valid() ||
        ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(socket.get(), 1) != 0) {
      ::_exit(1);
    }
    return socket;
  }
  // Waits for all that this process is the parent of by now.
  static bool NobodyIsLeft() {
    for (int attempt = 0; attempt < 2000; ++attempt) {
      const pid_t ended = ::waitpid(-1, nullptr, WNOHANG);
      if (ended < 0) return errno == ECHILD;
      if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  // Those of the jails' user, and those that have a name. "net:[4026531840]"
  [[nodiscard]] static std::set<std::string> Namespaces() {
    std::set<std::string> found;
    std::error_code gone;
    for (const auto& process : fs::directory_iterator("/proc")) {
      struct stat status{};
      if (::stat(process.path().c_str(), &status) != 0 || status.st_uid != kUser) continue;
      for (const auto& link : fs::directory_iterator(process.path() / "ns", gone)) {
        found.insert(fs::read_symlink(link, gone).string());
      }
    }
    for (const auto& name : fs::directory_iterator("/run/netns", gone)) found.insert(name.path());
    return found;
  }
  [[nodiscard]] static size_t Mounts() {
    const auto text = ReadFile("/proc/self/mountinfo", 1 << 24).value();
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }
  // A process that was forked just before its supervisor died has the record's lock until it looks
  // around and ends: as long as that, the jail is alive.
  bool CollectAll(size_t* removed) const {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      const auto result = CollectJails(records_.path());
      if (!result || !result->failures.empty()) return false;
      *removed += result->removed;
      if (result->alive == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  [[nodiscard]] bool AnybodyLeft() const {
    return std::ranges::any_of(places_, [](const Cgroup::Place& place) {
      return fs::exists(place.mount + "/" + place.path);
    });
  }

  static constexpr uint32_t kUser = 0x7ffe1234;  // Nobody else's.

  RecordDirectory records_;
  const RecordDirectory sockets_;
  const std::string socket_ = sockets_.path() + "/socket";
  JailOptions options_;
  std::vector<Cgroup::Place> places_;
};

TEST_F(KillTest, AfterTheCollectorNothingIsLeftOfJailsWhoseSupervisorsWereKilled) {
  const size_t mounts = Mounts();
  const std::set<std::string> namespaces = Namespaces();
  std::seed_seq seed{7};  // The same moments each time.
  std::mt19937 random(seed);
  size_t collected = 0;
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    const pid_t supervisor = ::fork();
    if (supervisor == 0) Supervise();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 6000));
    ::kill(supervisor, SIGKILL);
    ::waitpid(supervisor, nullptr, 0);
    ASSERT_TRUE(CollectAll(&collected)) << cycle;
    ASSERT_FALSE(AnybodyLeft()) << cycle;
    ASSERT_FALSE(fs::exists(socket_)) << cycle;
  }
  EXPECT_TRUE(NobodyIsLeft());
  EXPECT_EQ(Namespaces(), namespaces);
  EXPECT_TRUE(fs::is_empty(records_.path()));
  EXPECT_EQ(Mounts(), mounts);
  EXPECT_GT(collected, 0U);
}

}  // namespace
}  // namespace mayfly
