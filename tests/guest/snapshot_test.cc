#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/guest/guest_fixture.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

// Snapshots of functions in Linux guests, by the command.
class SnapshotGuestTest : public GuestFixture {
 protected:
  void SetUp() override {
    GuestFixture::SetUp();
    if (!IsSkipped()) snapshot_ = PathFor("snap");
  }

  void Save(const std::string& example, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"snapshot", Image(example),  "-o",        snapshot_,
                                       "--kernel", MinimalKernel(), "--timeout", "30s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = Mayfly(arguments);
    ASSERT_EQ(result.status, 0) << result.err;
  }

  ProgramResult Invoke(const std::string& event, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"invoke", snapshot_, "--event", event, "--timeout", "30s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Mayfly(arguments);
  }

  void ExpectEcho(const std::string& event, std::vector<std::string> more = {}) {
    const ProgramResult result = Invoke(event, std::move(more));
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out, event);
  }

  std::string snapshot_;
};

TEST_F(SnapshotGuestTest, ANativeFunctionAnswersFromItsSnapshotInEveryWay) {
  Save("echo-c");
  ExpectEcho("mapped", {"--memory", "map"});
  ExpectEcho("paged", {"--memory", "uffd"});
  ExpectEcho("read", {"--memory", "eager"});
  ExpectEcho("paged by another process", {"--memory", "uffd", "--pager", "auto"});
  ExpectEcho("unverified", {"--memory", "uffd", "--unverified"});
  const ProgramResult repeated = Invoke("ab", {"--repeat", "3"});
  EXPECT_EQ(repeated.out, "ababab") << repeated.err;
}

TEST_F(SnapshotGuestTest, AWarmedShellFunctionAnswersFromItsSnapshot) {
  Save("bootstrap-shell", {"--warm", "2", "--event", "warm"});
  ExpectEcho("{\"a\":1}");
}

// It waits in /runtime/restore/next, where it can be saved and not warmed.
TEST_F(SnapshotGuestTest, AFunctionThatWaitsForItsRestoreIsNotWarmed) {
  Save("bootstrap-c", {"--warm", "1"});
  ExpectEcho("restored");
}

TEST_F(SnapshotGuestTest, AHookThatFailsAfterARestoreIsTheInvocationsError) {
  Save("faulty", {"--warm", "1", "--event", "hook fail-after-restore"});
  const ProgramResult result = Invoke("echo");
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_NE(result.err.find("Runtime.AfterRestoreError"), std::string::npos) << result.err;
}

TEST_F(SnapshotGuestTest, ClonesHaveRandomNumbersOfTheirOwn) {
  Save("faulty");
  const ProgramResult first = Invoke("random");
  const ProgramResult second = Invoke("random");
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_FALSE(first.out.empty());
  EXPECT_NE(first.out, second.out);
}

// Though the handler has asked for it before the snapshot, and Linux keeps it.
TEST_F(SnapshotGuestTest, EachLifeHasABootIdOfItsOwn) {
  Save("faulty", {"--warm", "1", "--event", "boot-id"});
  const ProgramResult first = Invoke("boot-id", {"--repeat", "2"});
  const ProgramResult second = Invoke("boot-id");
  ASSERT_EQ(first.status, 0) << first.err;
  ASSERT_EQ(second.status, 0) << second.err;
  ASSERT_EQ(second.out.size(), 37u);
  EXPECT_NE(first.out.substr(0, 37), second.out);
  EXPECT_EQ(first.out.substr(0, 37), first.out.substr(37));
}

TEST_F(SnapshotGuestTest, EachLifeHasTheTime) {
  Save("faulty");
  for (int life = 0; life < 2; ++life) {
    const int64_t before = static_cast<int64_t>(WallClockNs());
    const ProgramResult answer = Invoke("clock");
    const int64_t after = static_cast<int64_t>(WallClockNs());
    ASSERT_EQ(answer.status, 0) << answer.err;
    const int64_t clock = std::stoll(answer.out);
    EXPECT_GE(clock, before);
    EXPECT_LE(clock, after);
  }
}

TEST_F(SnapshotGuestTest, ARecordedWorkingSetIsFilledAhead) {
  Save("echo-c");
  ExpectEcho("first", {"--memory", "uffd", "--record"});
  EXPECT_TRUE(std::filesystem::exists(snapshot_ + "/working-set"));
  const ProgramResult info = Mayfly({"snapshot", "info", snapshot_});
  EXPECT_EQ(info.out.find("working set   0 pages"), std::string::npos) << info.out;
  ExpectEcho("second", {"--memory", "uffd"});
  ExpectEcho("third", {"--memory", "map"});
}

TEST_F(SnapshotGuestTest, AFlattenedCopyAnswersAndIsRecorded) {
  Save("echo-c");
  const std::string flat = PathFor("flat");
  const ProgramResult flattened = Mayfly({"snapshot", "flatten", snapshot_, "-o", flat});
  ASSERT_EQ(flattened.status, 0) << flattened.err;
  std::filesystem::remove_all(snapshot_);
  snapshot_ = flat;
  ExpectEcho("flat");
  const ProgramResult recorded =
      Mayfly({"snapshot", "record", snapshot_, "--runs", "2", "--timeout", "30s"});
  EXPECT_EQ(recorded.status, 0) << recorded.err;
  ExpectEcho("recorded", {"--memory", "uffd"});
}

TEST_F(SnapshotGuestTest, LaterLivesAreSavedAsLayers) {
  Save("echo-c");
  for (const std::string name : {"second", "third"}) {
    const std::string layer = PathFor(name);
    const ProgramResult saved =
        Mayfly({"snapshot", snapshot_, "-o", layer, "--warm", "1", "--timeout", "30s"});
    ASSERT_EQ(saved.status, 0) << saved.err;
    snapshot_ = layer;
    ExpectEcho(name, {"--memory", "map"});
    ExpectEcho(name, {"--memory", "uffd"});
  }
}

// What the guest has made of its memory, and not what it has ever touched, takes place on disk.
TEST_F(SnapshotGuestTest, TheFileIsHardlyLargerThanThePagesThatAreNotZero) {
  Save("echo-c", {"--memory", "256M"});
  std::ifstream memory(snapshot_ + "/memory", std::ios::binary);
  std::vector<char> page(4096);
  uint64_t pages = 0;
  while (memory.read(page.data(), static_cast<std::streamsize>(page.size()))) {
    if (std::ranges::any_of(page, [](char byte) { return byte != 0; })) ++pages;
  }
  struct stat status{};
  ASSERT_EQ(::stat((snapshot_ + "/memory").c_str(), &status), 0);
  EXPECT_GT(pages, 0u);
  EXPECT_EQ(status.st_size, 256 << 20);
  EXPECT_LE(static_cast<uint64_t>(status.st_blocks) * 512, pages * 4096 * 11 / 10);
  RecordProperty("nonzero_pages", static_cast<int>(pages));
  RecordProperty("allocated_pages", static_cast<int>(status.st_blocks / 8));
}

TEST_F(SnapshotGuestTest, ADamagedMemoryIsRefused) {
  Save("echo-c");
  std::fstream memory(snapshot_ + "/memory", std::ios::in | std::ios::out | std::ios::binary);
  memory.seekp(16 << 20);
  memory.write("damage", 6);
  memory.close();
  const ProgramResult mapped = Invoke("x", {"--memory", "map"});
  EXPECT_EQ(mapped.status, 4);
  EXPECT_NE(mapped.err.find("does not match its digest"), std::string::npos) << mapped.err;
  const ProgramResult verified = Mayfly({"snapshot", "verify", snapshot_});
  EXPECT_EQ(verified.status, 4);
}

TEST_F(SnapshotGuestTest, AnotherImageThanTheSnapshotsIsRefused) {
  Save("echo-c");
  const ProgramResult result = Invoke("x", {"--image", Image("echo-cpp")});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("the snapshot was made with"), std::string::npos) << result.err;
}

TEST_F(SnapshotGuestTest, AnExistingDirectoryIsNotOverwritten) {
  std::filesystem::create_directory(snapshot_);
  const ProgramResult result =
      Mayfly({"snapshot", Image("echo-c"), "-o", snapshot_, "--kernel", MinimalKernel()});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("already there"), std::string::npos) << result.err;
  EXPECT_TRUE(std::filesystem::is_empty(snapshot_));
}

}  // namespace
}  // namespace mayfly
