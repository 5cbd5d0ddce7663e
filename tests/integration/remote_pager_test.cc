#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <optional>
#include <random>
#include <thread>

#include "base/file.h"
#include "base/thread.h"
#include "snapshot/pager_handshake.h"
#include "tests/integration/snapshot_fixture.h"
#include "tests/support/child_process.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// A guest that keeps 32 MiB, and reads and writes all of it in its life, so that its pager has
// something to do for some time.
class RemotePagerTest : public SnapshotDirectoryTest {
 protected:
  RemotePagerTest() : SnapshotDirectoryTest("1 32") {}

  static constexpr uint64_t kArena = 64 << 20;

  // `mayfly pager`, once it listens.
  std::unique_ptr<ChildProcess> StartPager(std::vector<std::string> more = {"--unverified"}) {
    std::filesystem::remove(SocketPath());
    std::vector<std::string> command{std::string(MAYFLY_BUILD_DIR) + "/bin/mayfly", "pager",
                                     PathFor("snap"), "--socket", SocketPath()};
    command.insert(command.end(), more.begin(), more.end());
    auto pager = std::make_unique<ChildProcess>(command);
    while (!ConnectToPager(SocketPath())) std::this_thread::sleep_for(milliseconds(1));
    return pager;
  }

  [[nodiscard]] std::string SocketPath() const { return PathFor("pager"); }

  Result<std::unique_ptr<Machine>> RestoreOver(milliseconds deadline,
                                               const std::string& name = "") {
    Snapshot snapshot = TRY(Snapshot::Open(PathFor("snap")));
    const RemotePager::Options remote{SocketPath(), -1, deadline, name};
    MemoryOptions options{MemoryWay::kUffd};
    options.remote = &remote;
    RestoredMemory memory = TRY(RestoreMemory(snapshot.TakeMemory(), options));
    auto machine = TRY(MachineBuilder(ConfigFor("", ""), nullptr)
                           .Restore(snapshot.TakeState(), std::move(memory)));
    const RestorePage life = TRY(NewLife());
    TRY(machine->SetRestorePage(life));
    return machine;
  }

  // The pager gets `signal` at a random moment of a life, which ends either as it should or with
  // the machine's end as an error. Returns how long that took.
  std::optional<microseconds> BreakPagerAtRandom(int signal, milliseconds deadline) {
    const auto pager = StartPager();
    const auto moment = microseconds(random_() % 40'000);
    std::atomic<Clock::time_point> broken{Clock::time_point::max()};
    Thread breaker("breaker", [&] {
      std::this_thread::sleep_for(moment);
      broken = Clock::now();
      pager->Signal(signal);
    });
    auto machine = RestoreOver(deadline);
    if (!machine) {
      const auto now = Clock::now();
      breaker.Join();
      EXPECT_TRUE(machine.error().message().starts_with("pager: ")) << machine.error().message();
      return std::chrono::duration_cast<microseconds>(now - broken.load());
    }
    machine_ = std::move(*machine);
    machine_->Resume();
    pollfd ended{machine_->end_fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 60'000), 1) << "the machine hangs";
    const auto now = Clock::now();
    breaker.Join();
    const MachineEnd end = *machine_->end();
    machine_.reset();
    if (end.reason == EndReason::kPowerOff) return std::nullopt;
    EXPECT_EQ(end.reason, EndReason::kMemoryIntegrity) << end.detail;
    EXPECT_TRUE(end.detail.starts_with("pager: ")) << end.detail;
    return std::chrono::duration_cast<microseconds>(now - broken.load());
  }

  void BreakPagersAtRandom(int signal, milliseconds deadline) {
    microseconds longest{0};
    int broken = 0;
    for (int i = 0; i < 100; ++i) {
      const auto took = BreakPagerAtRandom(signal, deadline);
      if (!took) continue;
      longest = std::max(longest, *took);
      ++broken;
    }
    std::cout << broken << " of 100 lives ended by a signal to the pager, the slowest after "
              << longest.count() << " us\n";
    // The guest compares every word of its memory with what it must be.
    EXPECT_EQ(output().find("FAILED"), std::string::npos) << output();
  }

  std::seed_seq seed_{20260101};  // The same moments each time.
  std::minstd_rand random_{seed_};
};

TEST_F(RemotePagerTest, AProcessFillsTheMemory) {
  const auto pager = StartPager();
  auto machine = RestoreOver(milliseconds(60'000));
  ASSERT_TRUE(machine) << machine.error().message();
  machine_ = std::move(*machine);
  ExpectALife();
}

TEST_F(RemotePagerTest, AProcessComparesWhatItFillsWithTheDigests) {
  ASSERT_EQ(::truncate(PathFor("snap/memory").c_str(), 0), 0);
  ASSERT_EQ(::truncate(PathFor("snap/memory").c_str(), 128 << 20), 0);
  ::setenv("MAYFLY_CACHE", PathFor("cache").c_str(), 1);
  const auto pager = StartPager({});
  const auto machine = RestoreOver(milliseconds(60'000));
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().message().find("does not match its digest"), std::string::npos)
      << machine.error().message();
}

TEST_F(RemotePagerTest, AProcessServesTheMachineThatItWasStartedFor) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  ::fcntl(ours.get(), F_SETFD, FD_CLOEXEC);
  ChildProcess pager({std::string(MAYFLY_BUILD_DIR) + "/bin/mayfly", "pager", PathFor("snap"),
                      "--unverified", "--fd", std::to_string(theirs.get())});
  theirs.Reset();
  auto snapshot = Snapshot::Open(PathFor("snap"));
  ASSERT_TRUE(snapshot);
  const RemotePager::Options remote{"", ours.get(), milliseconds(60'000)};
  MemoryOptions options{MemoryWay::kUffd};
  options.remote = &remote;
  auto memory = RestoreMemory(snapshot->TakeMemory(), options);
  ASSERT_TRUE(memory) << memory.error().message();
  Restore(snapshot->TakeState(), std::move(*memory));
  BeginLife();
  ExpectALife();
}

TEST_F(RemotePagerTest, OneProcessFillsManyMachines) {
  const auto pager = StartPager();
  auto first = RestoreOver(milliseconds(60'000));
  auto second = RestoreOver(milliseconds(60'000));
  ASSERT_TRUE(first && second);
  (*first)->Resume();
  (*second)->Resume();
  EXPECT_EQ((*first)->Wait().reason, EndReason::kPowerOff);
  EXPECT_EQ((*second)->Wait().reason, EndReason::kPowerOff);
}

TEST_F(RemotePagerTest, AProcessRefusesMachinesOfAnotherSnapshot) {
  const auto pager = StartPager();
  const auto machine = RestoreOver(milliseconds(60'000), "another");
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().message().find("another snapshot"), std::string::npos)
      << machine.error().message();
}

TEST_F(RemotePagerTest, NobodyAtTheSocketIsAnErrorOfTheRestore) {
  const auto machine = RestoreOver(milliseconds(60'000));
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().message().find(SocketPath()), std::string::npos)
      << machine.error().message();
}

TEST_F(RemotePagerTest, AMachineWhosePagerHasDiedIsReadByNobody) {
  auto pager = StartPager();
  auto machine = RestoreOver(milliseconds(60'000));
  ASSERT_TRUE(machine) << machine.error().message();
  machine_ = std::move(*machine);
  pager.reset();
  EXPECT_EQ(machine_->Wait().reason, EndReason::kMemoryIntegrity);
  uint64_t value = 0;
  EXPECT_FALSE(machine_->memory().ReadValue(GuestAddress{kArena}, &value));
}

TEST_F(RemotePagerTest, AMachineCanBeStoppedWhileItsPagerDoesNotAnswer) {
  const auto pager = StartPager();
  auto machine = RestoreOver(milliseconds(3'600'000));
  ASSERT_TRUE(machine) << machine.error().message();
  machine_ = std::move(*machine);
  pager->Signal(SIGSTOP);
  machine_->Resume();
  std::this_thread::sleep_for(milliseconds(20));
  machine_->Stop();
  EXPECT_EQ(machine_->end()->reason, EndReason::kStopped);
}

TEST_F(RemotePagerTest, ItsProcessKilledAtAnyMomentEndsTheMachine) {
  BreakPagersAtRandom(SIGKILL, milliseconds(60'000));
}

TEST_F(RemotePagerTest, ItsProcessStalledAtAnyMomentEndsTheMachine) {
  BreakPagersAtRandom(SIGSTOP, milliseconds(100));
}

}  // namespace
}  // namespace mayfly
