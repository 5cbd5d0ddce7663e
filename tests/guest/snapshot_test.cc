#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/guest/guest_fixture.h"

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

TEST_F(SnapshotGuestTest, ARecordedWorkingSetIsFilledAhead) {
  Save("echo-c");
  ExpectEcho("first", {"--memory", "uffd", "--record"});
  EXPECT_TRUE(std::filesystem::exists(snapshot_ + "/working-set"));
  const ProgramResult info = Mayfly({"snapshot", "info", snapshot_});
  EXPECT_EQ(info.out.find("working set   0 pages"), std::string::npos) << info.out;
  ExpectEcho("second", {"--memory", "uffd"});
  ExpectEcho("third", {"--memory", "map"});
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
