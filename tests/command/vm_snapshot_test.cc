#include <fmt/format.h>

#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "tests/command/command_fixture.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

struct Line : std::string {
  friend std::istream& operator>>(std::istream& stream, Line& line) {
    return std::getline(stream, line);
  }
};

// Saves and restores plain machines from the command line.
class VmSnapshotTest : public CommandFixture {
 protected:
  std::vector<std::string> Saving(const std::string& guest, const std::string& command_line,
                                  std::vector<std::string> more) {
    std::vector<std::string> arguments{"vm",        "--kernel",   Build("test-guests/" + guest),
                                       "--cmdline", command_line, "--snapshot-to",
                                       PathFor("s")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  ProgramResult Restored(std::vector<std::string> more = {}, const std::string& input = "") {
    std::vector<std::string> arguments{"vm", "--restore", PathFor("s")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Mayfly(arguments, input);
  }
  // Boots a guest that counts, and once it does, sends the signal; its output is in "out" and
  // "err".
  ProgramResult SignalWhileItCounts(const std::string& script, std::vector<std::string> more) {
    const std::string wait = R"("$@" >$OUT 2>$ERR & pid=$!; )"
                             R"(until [ $(stat -c %s $OUT) -gt 200 ]; do sleep 0.01; done; )";
    std::vector<std::string> command = Command(Saving("basic", "count", std::move(more)));
    command.insert(command.begin(), {"env", "OUT=" + PathFor("out"), "ERR=" + PathFor("err"),
                                     "SNAP=" + PathFor("s"), "sh", "-c", wait + script, "sh"});
    return RunProgram(command);
  }
  // The guest's words from the first number on, as often as it has counted.
  static std::string Count(size_t lines) {
    std::string text;
    for (size_t number = 0; number < lines; ++number) text += fmt::format("{:016x}\n", number);
    return text + "PASSED\n";
  }
  static std::set<std::string> LinesInCommon(const std::string& one, const std::string& other) {
    const auto lines = [](const std::string& text) {
      std::istringstream stream(text);
      return std::set<std::string>{std::istream_iterator<Line>(stream), {}};
    };
    const std::set<std::string> first = lines(one);
    const std::set<std::string> second = lines(other);
    std::set<std::string> common;
    std::ranges::set_intersection(first, second, std::inserter(common, common.end()));
    return common;
  }
  void ExpectCounted(const std::string& text) {
    EXPECT_TRUE(text == Count(static_cast<size_t>(std::ranges::count(text, '\n')) - 1)) << text;
  }
};

TEST_F(VmSnapshotTest, AGuestThatIsSavedAsItRunsGoesOnWithItsNextByte) {
  const ProgramResult saved =
      SignalWhileItCounts("kill -USR2 $pid; wait $pid", {"--snapshot-exit"});
  ASSERT_EQ(saved.status, 0) << Contents(PathFor("err"));

  const ProgramResult restored = Restored({}, "q");

  EXPECT_EQ(restored.status, 0) << restored.err;
  ExpectCounted(Contents(PathFor("out")) + restored.out);
}

TEST_F(VmSnapshotTest, AMachineGoesOnAfterItsSnapshot) {
  const ProgramResult saved = SignalWhileItCounts(
      R"(kill -USR2 $pid; until [ -e "$SNAP" ]; do sleep 0.01; done; size=$(stat -c %s $OUT); )"
      R"(until [ $(stat -c %s $OUT) -gt $size ]; do sleep 0.01; done; )"
      R"(kill -TERM $pid; wait $pid)",
      {});
  EXPECT_EQ(saved.status, 143) << Contents(PathFor("err"));
  EXPECT_EQ(Restored({}, "q").status, 0);
  EXPECT_EQ(Mayfly({"snapshot", "verify", PathFor("s")}).status, 0);
}

TEST_F(VmSnapshotTest, ASecondSnapshotDoesNotReplaceTheFirst) {
  const ProgramResult saved = SignalWhileItCounts(
      R"(kill -USR2 $pid; until [ -e "$SNAP" ]; do sleep 0.01; done; kill -USR2 $pid; )"
      R"(until [ -s $ERR ]; do sleep 0.01; done; kill -TERM $pid; wait $pid)",
      {});
  EXPECT_EQ(saved.status, 143);
  EXPECT_NE(Contents(PathFor("err")).find(PathFor("s") + ": already there"), std::string::npos);
}

TEST_F(VmSnapshotTest, AMachineIsSavedAfterATime) {
  const ProgramResult saved =
      Mayfly(Saving("basic", "count", {"--snapshot-after", "50ms", "--snapshot-exit"}));
  ASSERT_EQ(saved.status, 0) << saved.err;
  ExpectCounted(saved.out + Restored({}, "q").out);
}

TEST_F(VmSnapshotTest, TheGuestsDoorbellSavesItInEachWayToFillMemory) {
  ASSERT_EQ(Mayfly(Saving("lives", "1 4", {"--snapshot-exit"})).out, "");
  for (const char* way : {"map", "uffd", "eager"}) {
    const ProgramResult restored = Restored({"--memory", way});
    EXPECT_EQ(restored.status, 0) << restored.err;
    EXPECT_EQ(restored.out, "life 0000000000000001\nPASSED\n") << way;
  }
}

TEST_F(VmSnapshotTest, OnlyTheFirstRingIsSavedAndEachIsAnswered) {
  const ProgramResult saved = Mayfly(Saving("lives", "3 1", {}));
  EXPECT_EQ(saved.status, 0) << saved.err;
  EXPECT_EQ(saved.err, "");
  EXPECT_EQ(saved.out,
            "life 0000000000000001\nlife 0000000000000002\nlife 0000000000000003\nPASSED\n");
  EXPECT_EQ(FilesLeft(), 1);
}

TEST_F(VmSnapshotTest, ARestoredMachineIsSavedAgain) {
  ASSERT_EQ(Mayfly(Saving("lives", "2 1", {"--snapshot-exit"})).status, 0);
  const ProgramResult first =
      Restored({"--snapshot-to", PathFor("again"), "--snapshot-exit", "--memory", "uffd"});
  EXPECT_EQ(first.out, "life 0000000000000001\n") << first.err;
  EXPECT_EQ(Mayfly({"vm", "--restore", PathFor("again")}).out, "life 0000000000000002\nPASSED\n");
}

TEST_F(VmSnapshotTest, DevicesComeBackWithTheMachine) {
  Write("disk", std::string(1 << 20, 'd'));
  ASSERT_EQ(Mayfly(Saving("lives", "1 1",
                          {"--disk", PathFor("disk") + ",queues=2,block_size=4096", "--vsock",
                           PathFor("v"), "--rng", "--balloon", "target=0", "--snapshot-exit"}))
                .status,
            0);
  EXPECT_EQ(Restored().status, 0);
  EXPECT_EQ(Restored({"--vsock", PathFor("w")}).status, 0);
  Write("moved", std::string(1 << 20, 'm'));
  EXPECT_EQ(Restored({"--disk", PathFor("moved")}).status, 0);
  EXPECT_EQ(Restored({"--disk", PathFor("moved") + ",overlay=" + PathFor("layer")}).status, 0);
}

TEST_F(VmSnapshotTest, ADiskThatDoesNotFitIsRefused) {
  Write("disk", std::string(1 << 20, 'd'));
  ASSERT_EQ(Mayfly(Saving("lives", "1 1", {"--disk", PathFor("disk"), "--snapshot-exit"})).status,
            0);
  Write("small", std::string(1 << 19, 's'));
  ExpectError(Restored({"--disk", PathFor("small")}), 2,
              "disk0: capacity_sectors is 2048 in the snapshot, the disk has 1024");
  ExpectError(Restored({"--disk", PathFor("disk") + ",ro"}), 2,
              "disk0: read_only is false in the snapshot, true for the disk");
  ExpectError(Restored({"--disk", PathFor("disk"), "--disk", PathFor("small")}), 2,
              "disks: 2 are given, the snapshot has 1");
  std::filesystem::remove(PathFor("disk"));
  ExpectError(Restored(), 4, "disk: No such file or directory");
}

TEST_F(VmSnapshotTest, ADiskUnderALayerHasToBeGivenAgain) {
  Write("disk", std::string(1 << 20, 'd'));
  const std::string disk = PathFor("disk") + ",overlay=" + PathFor("layer");
  ASSERT_EQ(Mayfly(Saving("lives", "1 1", {"--disk", disk, "--snapshot-exit"})).status, 0);
  ExpectError(Restored(), 2, "disk0: had a layer over it");
  EXPECT_EQ(Restored({"--disk", disk}).status, 0);
}

TEST_F(VmSnapshotTest, EachLifeHasAnIdentityOfItsOwn) {
  ASSERT_EQ(Mayfly(Saving("identity", "told", {"--vsock", PathFor("v"), "--snapshot-exit"})).out,
            "");
  const std::string first = Restored().out;
  const std::string second = Restored().out;
  EXPECT_EQ(first.find("event 0000000000000000\ncid "), 0u) << first;
  EXPECT_EQ(LinesInCommon(first, second),
            (std::set<std::string>{"event 0000000000000000", "PASSED"}))
      << first << second;
}

TEST_F(VmSnapshotTest, EachIdentityCanBeOverridden) {
  ASSERT_EQ(Mayfly(Saving("identity", "told", {"--vsock", PathFor("v"), "--snapshot-exit"})).out,
            "");
  const ProgramResult restored = Restored({"--override", "vsock.cid=77", "--override",
                                           "generation=0100000000000000-0000000000000000",
                                           "--override", "entropy=02" + std::string(126, '0')});
  EXPECT_EQ(restored.out,
            "event 0000000000000000\ncid 000000000000004d\n"
            "generation 0000000000000001\nentropy 0000000000000002\nPASSED\n")
      << restored.err;
}

TEST_F(VmSnapshotTest, AGuestThatCannotBeToldKeepsItsCid) {
  ASSERT_EQ(
      Mayfly(Saving("identity", "quiet", {"--vsock", PathFor("v") + ",cid=5", "--snapshot-exit"}))
          .out,
      "");
  EXPECT_EQ(Restored().out.find("cid 0000000000000005\n"), 0u);
  EXPECT_EQ(Restored({"--override", "vsock.cid=77"}).out.find("cid 0000000000000005\n"), 0u);
}

TEST_F(VmSnapshotTest, AMacCanBeOverridden) {
  const bool ran = InNetNamespace([this] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap"));
    ASSERT_EQ(Mayfly(Saving("identity", "",
                            {"--net", "tap=tap0,mac=02:00:00:00:00:01", "--snapshot-exit"}))
                  .out,
              "");
    EXPECT_EQ(Restored().out.find("mac 0000000000000002\nmac 0000000000000100\n"), 0u);
    EXPECT_EQ(Restored({"--override", "net0.mac=02:00:00:00:00:09"})
                  .out.find("mac 0000000000000002\nmac 0000000000000900\n"),
              0u);
  });
  if (!ran) GTEST_SKIP() << "needs root for a network namespace";
}

TEST_F(VmSnapshotTest, OverridesOfWhatIsNotThereAreRefused) {
  ASSERT_EQ(Mayfly(Saving("lives", "1 1", {"--snapshot-exit"})).status, 0);
  ExpectError(Restored({"--override", "vsock.cid=5"}), 2, "vsock.cid: the snapshot has no vsock");
  ExpectError(Restored({"--override", "net1.mac=02:00:00:00:00:09"}), 2,
              "net1.mac: the snapshot has 0 network devices");
}

TEST_F(VmSnapshotTest, AMachineThatGoesOnMayNotChangeItsDisks) {
  Write("disk", std::string(1 << 20, 'd'));
  ExpectError(Mayfly(Saving("lives", "1 1", {"--disk", PathFor("disk")})), 2, "--snapshot-exit");
  EXPECT_EQ(Mayfly(Saving("lives", "1 1", {"--disk", PathFor("disk") + ",ro"})).status, 0);
}

TEST_F(VmSnapshotTest, WhatIsNoSnapshotOfAMachineIsRefused) {
  ExpectError(Restored(), 4, PathFor("s"));
  ASSERT_EQ(Mayfly(Saving("lives", "1 1", {"--snapshot-exit"})).status, 0);
  ExpectError(Restored({"--kernel", "k"}), 2, "--kernel: not with --restore");
  ExpectError(Restored({"--memory", "128M"}), 2, "128M: map, uffd and eager are possible");
  ExpectError(Restored({"--vsock", PathFor("v")}), 2, "vsock: 1 are given, the snapshot has 0");
  ExpectError(Mayfly(Saving("lives", "1 1", {})), 2, "exists already");
}

TEST_F(VmSnapshotTest, ADamagedSnapshotIsRefusedBeforeTheGuestRuns) {
  ASSERT_EQ(Mayfly(Saving("lives", "1 1", {"--snapshot-exit"})).status, 0);
  std::string state = Contents(PathFor("s/state"));
  state[state.size() / 2] = static_cast<char>(state[state.size() / 2] ^ 1);
  Write("s/state", state);
  ExpectError(Restored(), 4, "state");
}

TEST_F(VmSnapshotTest, DamagedMemoryIsRefusedInEachWay) {
  ASSERT_EQ(Mayfly(Saving("lives", "1 1", {"--snapshot-exit"})).status, 0);
  std::string memory = Contents(PathFor("s/memory"));
  memory[0xde000] = static_cast<char>(memory[0xde000] ^ 1);
  Write("s/memory", memory);
  for (const char* way : {"map", "uffd", "eager"}) {
    ExpectError(Restored({"--memory", way}), 4, "memory");
  }
}

}  // namespace
}  // namespace mayfly
