#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "tests/integration/machine_fixture.h"

namespace mayfly {
namespace {

class BlkMachineTest : public MachineFixture {
 protected:
  MachineConfig ConfigWithDisk(const std::string& guest, const std::string& command_line,
                               bool read_only) {
    std::string disk;
    for (char sector = 0; sector < 8; ++sector) disk += std::string(512, sector);
    WriteFile("disk.img", disk);
    MachineConfig config = ConfigFor(guest, command_line);
    config.disks.push_back({PathFor("disk.img"), read_only, UniqueFd()});
    config.rng = true;
    return config;
  }
  [[nodiscard]] std::string Sector(size_t number) const {
    return ReadBack("disk.img").substr(number * 512, 512);
  }
};

// Cases 26, 27, 30.
TEST_F(BlkMachineTest, GuestReadsWritesFlushesAndIsRefusedWhatItMustNot) {
  EXPECT_EQ(Run(ConfigWithDisk("blk", "write", false)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
  EXPECT_EQ(Sector(2), std::string(512, '\xab'));
}

// Case 30.
TEST_F(BlkMachineTest, ReadOnlyDiskStaysAsItWas) {
  EXPECT_EQ(Run(ConfigWithDisk("blk", "read-only", true)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
  EXPECT_EQ(Sector(2), std::string(512, '\x02'));
}

// Everything else, with each engine.
class BlkCaseTest : public BlkMachineTest, public testing::WithParamInterface<BlkEngine> {
 protected:
  MachineConfig CaseConfig(const std::string& name, bool read_only = false) {
    MachineConfig config = ConfigWithDisk("blk_cases", name, read_only);
    config.disks[0].engine = GetParam();
    config.disks[0].options.serial = "serial-of-the-disk";
    return config;
  }
  void ExpectPass(MachineConfig config) {
    EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
    EXPECT_TRUE(output().ends_with("PASSED\n")) << output();
  }
};

std::string NameOf(const testing::TestParamInfo<BlkEngine>& engine) {
  return engine.param == BlkEngine::kThread ? "Thread" : "Best";
}
INSTANTIATE_TEST_SUITE_P(Engines, BlkCaseTest,
                         testing::Values(BlkEngine::kBest, BlkEngine::kThread), NameOf);

// Case 27.
TEST_P(BlkCaseTest, SerialNumberIsReadWholeOrNotAtAll) { ExpectPass(CaseConfig("short-id")); }

// Case 28.
TEST_P(BlkCaseTest, RequestWithoutRoomForItsStatusIsNotDone) {
  ExpectPass(CaseConfig("no-status"));
  EXPECT_EQ(Sector(2), std::string(512, '\x02'));
}

// Case 28.
TEST_P(BlkCaseTest, RequestWithItsStatusOnRegistersIsNotDone) {
  ExpectPass(CaseConfig("status-on-registers"));
  EXPECT_EQ(Sector(2), std::string(512, '\x02'));
}

// Case 29.
TEST_P(BlkCaseTest, AnyFramingWorks) { ExpectPass(CaseConfig("framing")); }

// Case 30.
TEST_P(BlkCaseTest, DiscardAndWriteZeroesAreCheckedAndDone) {
  ExpectPass(CaseConfig("ranges"));
  EXPECT_EQ(Sector(2), std::string(512, '\x02'));
  EXPECT_EQ(Sector(3), std::string(512, '\0'));
}

// Case 30.
TEST_P(BlkCaseTest, ReadOnlyDiskIsNotDiscarded) {
  ExpectPass(CaseConfig("ranges-read-only", true));
  EXPECT_EQ(Sector(1), std::string(512, '\x01'));
}

// Case 24, and the class of CVE-2026-45782.
TEST_P(BlkCaseTest, ThousandsOfResetsWithRequestsInFlight) { ExpectPass(CaseConfig("resets")); }

TEST_P(BlkCaseTest, MachineIsPausedAndStoppedWithRequestsInFlight) {
  Start(CaseConfig("busy"));
  ASSERT_TRUE(WaitForOutput("busy"));
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(i % 3));
    machine_->Pause();
    machine_->Resume();
  }
  EXPECT_FALSE(machine_->end());
  machine_->Stop();
  EXPECT_EQ(machine_->end()->reason, EndReason::kStopped) << output();
}

// Case 31.
TEST_P(BlkCaseTest, FileTruncatedInUseIsAnErrorOfItsRequests) {
  Start(CaseConfig("truncated"));
  ASSERT_TRUE(WaitForOutput("ready"));
  ASSERT_EQ(::truncate(PathFor("disk.img").c_str(), 1000), 0);
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_TRUE(output().ends_with("PASSED\n")) << output();
}

// Case 31.
TEST_P(BlkCaseTest, FileThatCannotGrowFurtherIsAnErrorOfItsRequests) {
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_NE(old_handler, SIG_ERR);
  MachineConfig config = CaseConfig("full");
  constexpr rlim_t kFourSectors = 2048;
  const rlimit limit{kFourSectors, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);

  const MachineEnd end = Run(std::move(config));

  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_EQ(std::signal(SIGXFSZ, old_handler), SIG_IGN);
  EXPECT_EQ(end.reason, EndReason::kPowerOff);
  EXPECT_TRUE(output().ends_with("PASSED\n")) << output();
  EXPECT_EQ(Sector(4), std::string(512, '\x04'));
}

// Case 33.
TEST_P(BlkCaseTest, ForeignHeaderWrittenByTheGuestStaysData) {
  MachineConfig again = CaseConfig("read-foreign-header");
  ExpectPass(CaseConfig("write-foreign-header"));
  machine_.reset();
  ExpectPass(std::move(again));
}

TEST_P(BlkCaseTest, TwoQueues) {
  MachineConfig config = CaseConfig("two-queues");
  config.disks[0].options.queues = 2;
  ExpectPass(std::move(config));
}

TEST_F(BlkMachineTest, OverlaysShareABaseAndKeepWhatWasWritten) {
  const auto config_with = [this](const std::string& name, const std::string& layer) {
    MachineConfig config = ConfigWithDisk("blk_cases", name, false);
    config.disks[0].overlay = PathFor(layer);
    return config;
  };
  MachineConfig other = config_with("busy", "b.layer");
  MachineConfig first = config_with("overlay", "a.layer");
  MachineConfig again = config_with("overlay-again", "a.layer");
  other.serial_output = -1;
  auto clone = *MachineBuilder(std::move(other), nullptr).Boot();
  clone->Resume();

  EXPECT_EQ(Run(std::move(first)).reason, EndReason::kPowerOff);
  machine_.reset();
  EXPECT_EQ(Run(std::move(again)).reason, EndReason::kPowerOff);

  EXPECT_EQ(output(), "PASSED\nPASSED\n");
  EXPECT_EQ(Sector(2), std::string(512, '\x02'));
}

TEST_F(BlkMachineTest, DiskInUseIsRefused) {
  Start(ConfigWithDisk("basic", "loop", false));
  MachineConfig second = ConfigFor("basic", "hello");
  second.disks.push_back({PathFor("disk.img"), false, UniqueFd()});
  const auto machine = MachineBuilder(std::move(second), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().message().find("disk.img"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
