#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "tests/capi/api_fixture.h"
#include "tests/support/net_namespace.h"
#include "tests/support/program.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// Plain machines that are saved, and restored from that.
class ApiMachineSnapshotTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    fs::remove_all(PathFor("s"));
  }

  static std::string Contents(const std::string& name) {
    std::ifstream stream(PathFor(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  static void Write(const std::string& name, const std::string& text) {
    std::ofstream(PathFor(name), std::ios::binary) << text;
  }
  // Returns when more than `bytes` have been written there.
  static void WaitForMore(const std::string& name, size_t bytes) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(kMostMilliseconds);
    while (Contents(name).size() <= bytes) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << Contents(name);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  [[nodiscard]] mayfly_machine* Create() const {
    mayfly_machine* machine = nullptr;
    EXPECT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
    return machine;
  }
  [[nodiscard]] mayfly_machine* CreateFor(const std::string& guest,
                                          const std::string& command_line) const {
    mayfly_machine* const machine = Create();
    EXPECT_EQ(
        mayfly_machine_set_kernel(machine, GuestPath(guest).c_str(), nullptr, command_line.c_str()),
        MAYFLY_OK);
    return machine;
  }
  [[nodiscard]] mayfly_machine* CreateFrom(
      const std::string& snapshot, const mayfly_machine_snapshot_options* options = nullptr) const {
    mayfly_machine* const machine = Create();
    EXPECT_EQ(mayfly_machine_set_snapshot(machine, PathFor(snapshot).c_str(), options), MAYFLY_OK)
        << ErrorOf(machine);
    return machine;
  }
  // Its console is a new file, and reads a "q" if it reads at all.
  static void SetConsole(mayfly_machine* machine, const std::string& name) {
    const UniqueFd output(
        ::open(PathFor(name).c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
    EXPECT_EQ(mayfly_machine_set_console(machine, -1, output.get()), MAYFLY_OK);
  }
  static void SetConsoleWithInput(mayfly_machine* machine, const std::string& name) {
    const UniqueFd output(
        ::open(PathFor(name).c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd read(ends[0]);
    const UniqueFd write(ends[1]);
    ASSERT_EQ(::write(write.get(), "q", 1), 1);
    EXPECT_EQ(mayfly_machine_set_console(machine, read.get(), output.get()), MAYFLY_OK);
  }
  static void BootIt(mayfly_machine* machine) {
    ASSERT_EQ(mayfly_machine_boot(machine), MAYFLY_OK) << ErrorOf(machine);
  }
  static void Snapshot(mayfly_machine* machine, const std::string& name) {
    ASSERT_EQ(mayfly_machine_snapshot(machine, PathFor(name).c_str()), MAYFLY_OK)
        << ErrorOf(machine);
  }
  // Boots it, waits for its end, and closes it; returns why it ended.
  static int RunToItsEnd(mayfly_machine* machine) {
    EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_OK) << ErrorOf(machine);
    EXPECT_EQ(mayfly_machine_wait(machine, kMostMilliseconds), MAYFLY_OK);
    mayfly_end end = MAYFLY_END_INIT;
    EXPECT_EQ(mayfly_machine_end(machine, &end), MAYFLY_OK);
    EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
    return end.reason;
  }

  // Saves a guest that counts, somewhere.
  void SaveCounting() const {
    mayfly_machine* const machine = CreateFor("basic", "count");
    SetConsole(machine, "counted");
    BootIt(machine);
    WaitForMore("counted", 200);
    ASSERT_EQ(mayfly_machine_pause(machine), MAYFLY_OK);
    Snapshot(machine, "s");
    // Were it to go on, there would be lines too many.
    EXPECT_EQ(mayfly_machine_wait(machine, 20), MAYFLY_E_TIMEOUT);
    EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  }
  // Saves a guest that then says who it is.
  void SaveIdentity(const std::string& tap = "") const {
    mayfly_machine* const machine = CreateFor("identity", "told aloud");
    EXPECT_EQ(mayfly_machine_set_vsock(machine, 5, PathFor("v").c_str()), MAYFLY_OK);
    if (!tap.empty()) {
      const mayfly_net net = {tap.c_str(), "02:00:00:00:00:01", nullptr, nullptr, nullptr};
      EXPECT_EQ(mayfly_machine_add_net(machine, &net), MAYFLY_OK);
    }
    SetConsole(machine, "ready");
    BootIt(machine);
    WaitForMore("ready", 5);  // All of the line.
    Snapshot(machine, "s");
    EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  }
  // What the guest says in a life with these overrides.
  [[nodiscard]] std::string IdentityWith(const std::vector<const char*>& overrides) const {
    mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
    options.overrides = overrides.data();
    options.override_count = overrides.size();
    mayfly_machine* const machine = CreateFrom("s", &options);
    SetConsole(machine, "said");
    EXPECT_EQ(RunToItsEnd(machine), MAYFLY_END_POWER_OFF);
    return Contents("said");
  }
  // The code of a restore with one override; the text is in `text`.
  int RestoreWith(const char* override_text, std::string* text) const {
    mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
    options.overrides = &override_text;
    options.override_count = 1;
    mayfly_machine* const machine = CreateFrom("s", &options);
    const int status = mayfly_machine_boot(machine);
    *text = ErrorOf(machine);
    EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
    return status;
  }
  static void ExpectCounted(const std::string& text) {
    const auto lines = static_cast<size_t>(std::ranges::count(text, '\n'));
    std::string expected;
    for (size_t number = 0; number + 1 < lines; ++number) {
      expected += fmt::format("{:016x}\n", number);
    }
    EXPECT_TRUE(text == expected + "PASSED\n") << text;
  }
};

TEST_F(ApiMachineSnapshotTest, PausedMachineIsSavedWhereItStandsAndEachWayGoesOnFromThere) {
  SaveCounting();
  for (const int memory : {MAYFLY_MEMORY_MAP, MAYFLY_MEMORY_UFFD, MAYFLY_MEMORY_EAGER}) {
    mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
    options.memory = memory;
    mayfly_machine* const machine = CreateFrom("s", &options);
    SetConsoleWithInput(machine, "restored");
    EXPECT_EQ(RunToItsEnd(machine), MAYFLY_END_POWER_OFF) << memory;
    ExpectCounted(Contents("counted") + Contents("restored"));
  }
}

TEST_F(ApiMachineSnapshotTest, RunningMachineGoesOnAfterItsSnapshot) {
  mayfly_machine* const machine = CreateFor("basic", "count");
  SetConsole(machine, "counted");
  BootIt(machine);
  WaitForMore("counted", 200);
  Snapshot(machine, "s");
  WaitForMore("counted", Contents("counted").size());
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_machine_end(machine, &end), MAYFLY_E_AGAIN);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  mayfly_machine* const clone = CreateFrom("s");
  SetConsoleWithInput(clone, "restored");
  EXPECT_EQ(RunToItsEnd(clone), MAYFLY_END_POWER_OFF);
  EXPECT_TRUE(Contents("restored").ends_with("PASSED\n")) << Contents("restored");
}

TEST_F(ApiMachineSnapshotTest, RestoredMachineIsSavedAgain) {
  SaveCounting();
  fs::remove_all(PathFor("again"));
  mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
  options.memory = MAYFLY_MEMORY_UFFD;
  mayfly_machine* const machine = CreateFrom("s", &options);
  SetConsole(machine, "more");
  BootIt(machine);
  WaitForMore("more", 200);
  EXPECT_EQ(mayfly_machine_pause(machine), MAYFLY_OK);
  Snapshot(machine, "again");
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  mayfly_machine* const last = CreateFrom("again");
  SetConsoleWithInput(last, "restored");
  EXPECT_EQ(RunToItsEnd(last), MAYFLY_END_POWER_OFF);
  ExpectCounted(Contents("counted") + Contents("more") + Contents("restored"));
}

TEST_F(ApiMachineSnapshotTest, MachineWithAWritableDiskIsSavedOnlyWhileTheCallerHasPausedIt) {
  Write("disk", std::string(1 << 20, 'd'));
  mayfly_machine* const machine = CreateFor("basic", "loop");
  EXPECT_EQ(mayfly_machine_add_disk(machine, PathFor("disk").c_str(), nullptr, 0), MAYFLY_OK);
  BootIt(machine);
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("s").c_str()), MAYFLY_E_STATE);
  EXPECT_NE(ErrorOf(machine).find("disk0 is writable"), std::string::npos) << ErrorOf(machine);
  EXPECT_FALSE(fs::exists(PathFor("s")));
  EXPECT_EQ(mayfly_machine_pause(machine), MAYFLY_OK);
  Snapshot(machine, "s");
  EXPECT_EQ(mayfly_machine_resume(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("t").c_str()), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, DevicesComeBackWithTheMachine) {
  Write("disk", std::string(1 << 20, 'd'));
  mayfly_machine* const machine = CreateFor("basic", "loop");
  EXPECT_EQ(
      mayfly_machine_add_disk(machine, PathFor("disk").c_str(), nullptr, MAYFLY_DISK_READ_ONLY),
      MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_vsock(machine, 7, PathFor("v").c_str()), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_rng(machine, 1), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_balloon(machine, 0), MAYFLY_OK);
  BootIt(machine);
  Snapshot(machine, "s");
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);

  mayfly_machine* const clone = CreateFrom("s");
  EXPECT_EQ(mayfly_machine_set_vsock(clone, 0, PathFor("w").c_str()), MAYFLY_OK);
  BootIt(clone);
  EXPECT_TRUE(fs::is_socket(PathFor("w")));
  EXPECT_EQ(mayfly_machine_set_balloon(clone, 4 << 20), MAYFLY_OK);
  std::string json(1 << 16, '\0');
  size_t size = json.size();
  EXPECT_EQ(mayfly_machine_metrics(clone, json.data(), &size), MAYFLY_OK);
  EXPECT_NE(json.find("\"disk0\""), std::string::npos);
  EXPECT_EQ(mayfly_machine_close(clone), MAYFLY_OK);

  Write("moved", std::string(1 << 20, 'm'));
  mayfly_machine* const other = CreateFrom("s");
  EXPECT_EQ(
      mayfly_machine_add_disk(other, PathFor("moved").c_str(), nullptr, MAYFLY_DISK_READ_ONLY),
      MAYFLY_OK);
  BootIt(other);
  EXPECT_EQ(mayfly_machine_close(other), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, DisksThatDoNotFitAreRefusedAndNamed) {
  Write("disk", std::string(1 << 20, 'd'));
  mayfly_machine* const machine = CreateFor("basic", "loop");
  EXPECT_EQ(
      mayfly_machine_add_disk(machine, PathFor("disk").c_str(), nullptr, MAYFLY_DISK_READ_ONLY),
      MAYFLY_OK);
  BootIt(machine);
  Snapshot(machine, "s");
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  mayfly_machine* const clone = CreateFrom("s");
  EXPECT_EQ(mayfly_machine_add_disk(clone, PathFor("disk").c_str(), nullptr, 0), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_boot(clone), MAYFLY_E_INVALID);
  EXPECT_NE(ErrorOf(clone).find("disk0: read_only is true in the snapshot"), std::string::npos)
      << ErrorOf(clone);
  EXPECT_EQ(mayfly_machine_close(clone), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, EachLifeHasAnIdentityOfItsOwn) {
  SaveIdentity();
  const std::string first = IdentityWith({});
  const std::string second = IdentityWith({});
  EXPECT_TRUE(first.starts_with("event 0000000000000000\ncid ")) << first;
  EXPECT_EQ(first.find("cid 0000000000000005\n"), std::string::npos) << first;
  EXPECT_NE(first, second);
}

TEST_F(ApiMachineSnapshotTest, EachIdentityCanBeOverridden) {
  SaveIdentity();
  const std::string entropy = "entropy=02" + std::string(126, '0');
  EXPECT_EQ(IdentityWith({"vsock.cid=77",
                          "generation=01"
                          "000000000000000000000000000000",
                          entropy.c_str()}),
            "event 0000000000000000\ncid 000000000000004d\n"
            "generation 0000000000000001\nentropy 0000000000000002\nPASSED\n");
}

TEST_F(ApiMachineSnapshotTest, CidIsTheVsocksUnlessItIsOverridden) {
  SaveIdentity();
  mayfly_machine* const machine = CreateFrom("s");
  EXPECT_EQ(mayfly_machine_set_vsock(machine, 78, PathFor("x").c_str()), MAYFLY_OK);
  SetConsole(machine, "said");
  EXPECT_EQ(RunToItsEnd(machine), MAYFLY_END_POWER_OFF);
  EXPECT_NE(Contents("said").find("cid 000000000000004e\n"), std::string::npos);

  const char* const cid = "vsock.cid=77";
  mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
  options.overrides = &cid;
  options.override_count = 1;
  mayfly_machine* const overridden = CreateFrom("s", &options);
  EXPECT_EQ(mayfly_machine_set_vsock(overridden, 78, PathFor("y").c_str()), MAYFLY_OK);
  SetConsole(overridden, "said");
  EXPECT_EQ(RunToItsEnd(overridden), MAYFLY_END_POWER_OFF);
  EXPECT_NE(Contents("said").find("cid 000000000000004d\n"), std::string::npos);
}

TEST_F(ApiMachineSnapshotTest, MacCanBeOverridden) {
  const bool ran = InNetNamespace([this] {
    ASSERT_TRUE(Ip("tuntap add tap0 mode tap"));
    SaveIdentity("tap0");
    EXPECT_NE(IdentityWith({}).find("mac 0000000000000002\nmac 0000000000000100\n"),
              std::string::npos);
    EXPECT_NE(IdentityWith({"net0.mac=02:00:00:00:00:09"})
                  .find("mac 0000000000000002\nmac 0000000000000900\n"),
              std::string::npos);
  });
  if (!ran) GTEST_SKIP() << "needs root for a network namespace";
}

TEST_F(ApiMachineSnapshotTest, OverridesOfWhatIsNotThereAreRefused) {
  SaveCounting();
  std::string text;
  EXPECT_EQ(RestoreWith("vsock.cid=5", &text), MAYFLY_E_INVALID);
  EXPECT_NE(text.find("vsock.cid: the snapshot has no vsock"), std::string::npos) << text;
  EXPECT_EQ(RestoreWith("net1.mac=02:00:00:00:00:09", &text), MAYFLY_E_INVALID);
  EXPECT_NE(text.find("net1.mac: the snapshot has 0 network devices"), std::string::npos) << text;
}

TEST_F(ApiMachineSnapshotTest, WhatASnapshotSaysIsNotSetBesideIt) {
  mayfly_machine* const machine = CreateFrom("s");
  EXPECT_EQ(mayfly_machine_set_kernel(machine, "k", nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_memory(machine, 128 << 20), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_vcpus(machine, 1), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_rng(machine, 1), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_balloon(machine, 0), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  mayfly_machine* const other = Create();
  EXPECT_EQ(mayfly_machine_set_vcpus(other, 0), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_snapshot(other, PathFor("s").c_str(), nullptr), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_close(other), MAYFLY_OK);
  mayfly_machine* const booting = CreateFor("basic", "loop");
  EXPECT_EQ(mayfly_machine_set_snapshot(booting, PathFor("s").c_str(), nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_vsock(booting, 0, PathFor("v").c_str()), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_close(booting), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, SnapshotThatCannotBeWrittenLeavesTheMachineRunning) {
  mayfly_machine* const machine = CreateFor("basic", "count");
  SetConsole(machine, "counted");
  BootIt(machine);
  Write("taken", "");
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("taken").c_str()), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("no/where").c_str()), MAYFLY_E_NOT_FOUND);
  EXPECT_EQ(mayfly_machine_snapshot(machine, nullptr), MAYFLY_E_INVALID);
  WaitForMore("counted", Contents("counted").size());
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, OnlyAMachineThatRunsIsSaved) {
  mayfly_machine* const machine = CreateFor("basic", "hello");
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("s").c_str()), MAYFLY_E_STATE);
  BootIt(machine);
  EXPECT_EQ(mayfly_machine_wait(machine, kMostMilliseconds), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("s").c_str()), MAYFLY_E_STATE);
  EXPECT_FALSE(fs::exists(PathFor("s")));
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, PathFor("s").c_str(), nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, BootThatFailsIsNotTriedAgain) {
  mayfly_machine* const machine = CreateFrom("s");
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_NOT_FOUND);
  EXPECT_NE(ErrorOf(machine).find(PathFor("s")), std::string::npos) << ErrorOf(machine);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, PathFor("s").c_str(), nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_snapshot(machine, PathFor("t").c_str()), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, DamagedMemoryIsRefusedUnlessItIsTrusted) {
  SaveCounting();
  const UniqueFd memory(::open(PathFor("s/memory").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::pwrite(memory.get(), "x", 1, 100 << 20), 1);  // Where this guest has nothing.
  mayfly_machine* const machine = CreateFrom("s");
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_CORRUPT);
  EXPECT_NE(ErrorOf(machine).find("memory"), std::string::npos) << ErrorOf(machine);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
  options.unverified = 1;
  mayfly_machine* const trusting = CreateFrom("s", &options);
  SetConsoleWithInput(trusting, "restored");
  EXPECT_EQ(RunToItsEnd(trusting), MAYFLY_END_POWER_OFF);
}

// What this instance has written itself is not compared with its digests again.
TEST_F(ApiMachineSnapshotTest, SnapshotIsRememberedAsCompared) {
  const std::string directory = PathFor("compared");
  mayfly_options options = MAYFLY_OPTIONS_INIT;
  options.verified_directory = directory.c_str();
  mayfly_instance* lib = nullptr;
  ASSERT_EQ(mayfly_open(&options, &lib), MAYFLY_OK);
  std::swap(lib, lib_);
  const auto stamps = [&] {
    return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
  };
  SaveCounting();
  EXPECT_EQ(stamps(), 1);
  mayfly_machine* const machine = CreateFrom("s");
  SetConsoleWithInput(machine, "restored");
  EXPECT_EQ(RunToItsEnd(machine), MAYFLY_END_POWER_OFF);
  EXPECT_EQ(stamps(), 1);
  std::swap(lib, lib_);
  EXPECT_EQ(mayfly_close(lib), MAYFLY_OK);
}

TEST_F(ApiMachineSnapshotTest, FunctionsAndMachinesSnapshotsAreNotTakenForEachOther) {
  mayfly_machine* const machine = Create();
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, SnapshotPath().c_str(), nullptr), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  SaveCounting();
  mayfly_snapshot* snapshot = nullptr;
  EXPECT_EQ(mayfly_snapshot_open(lib_, PathFor("s").c_str(), nullptr, &snapshot), MAYFLY_E_INVALID);
}

#ifdef MAYFLY_SHARED_LIBRARY  // The command is built, too.
TEST_F(ApiMachineSnapshotTest, CommandGoesOnWithWhatTheLibrarySaved) {
  SaveCounting();
  const ProgramResult restored =
      RunProgram({MAYFLY_BUILD_DIR "/bin/mayfly", "vm", "--restore", PathFor("s")}, "q");
  EXPECT_EQ(restored.status, 0) << restored.err;
  ExpectCounted(Contents("counted") + restored.out);
}

TEST_F(ApiMachineSnapshotTest, LibraryGoesOnWithWhatTheCommandSaved) {
  const ProgramResult saved =
      RunProgram({(MAYFLY_BUILD_DIR "/bin/mayfly"), "vm", "--kernel", GuestPath("lives"),
                  "--cmdline", "1 4", "--snapshot-to", PathFor("s"), "--snapshot-exit"});
  ASSERT_EQ(saved.status, 0) << saved.err;
  mayfly_machine* const machine = CreateFrom("s");
  SetConsole(machine, "restored");
  EXPECT_EQ(RunToItsEnd(machine), MAYFLY_END_POWER_OFF);
  EXPECT_EQ(Contents("restored"), "life 0000000000000001\nPASSED\n");
}
#endif

TEST_F(ApiMachineSnapshotTest, ClosingAMachineWaitsForItsSnapshot) {
  mayfly_machine* const machine = BootMachine("basic", "loop");
  std::thread saving([&] {
    const int status = mayfly_machine_snapshot(machine, PathFor("s").c_str());
    EXPECT_TRUE(status == MAYFLY_OK || status == MAYFLY_E_HANDLE) << status;
    EXPECT_EQ(fs::exists(PathFor("s/manifest.json")), status == MAYFLY_OK);
  });
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  saving.join();
}

TEST_F(ApiMachineSnapshotTest, SavingIsOneAtATime) {
  mayfly_machine* const machine = BootMachine("basic", "loop");
  fs::remove_all(PathFor("t"));
  int other = MAYFLY_E_AGAIN;
  std::thread saving([&] { other = mayfly_machine_snapshot(machine, PathFor("t").c_str()); });
  const int own = mayfly_machine_snapshot(machine, PathFor("s").c_str());
  saving.join();
  EXPECT_TRUE(own == MAYFLY_OK || own == MAYFLY_E_BUSY) << own;
  EXPECT_TRUE(other == MAYFLY_OK || (other == MAYFLY_E_BUSY && own == MAYFLY_OK)) << other;
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
