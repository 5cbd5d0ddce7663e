#include <rapidjson/document.h>

#include "tests/command/command_fixture.h"

namespace mayfly {
namespace {

class BenchTest : public CommandFixture {
 protected:
  // A row of each way, of a machine small enough for every host.
  static rapidjson::Document Rows(std::vector<std::string> more) {
    std::vector<std::string> arguments{"bench", "restore", "--memory", "128M",  "--working-set",
                                       "1",     "--runs",  "2",        "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = Mayfly(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    rapidjson::Document rows;
    rows.Parse(result.out.c_str());
    return rows;
  }
};

TEST_F(BenchTest, RestoreMeasuresEveryWay) {
  const rapidjson::Document rows = Rows({});
  ASSERT_TRUE(rows.IsArray());
  ASSERT_EQ(rows.Size(), 5u);
  EXPECT_STREQ(rows[0]["way"].GetString(), "map");
  EXPECT_STREQ(rows[4]["way"].GetString(), "uffd-lazy");
  EXPECT_EQ(rows[0]["memory_mib"].GetUint(), 128u);
  EXPECT_EQ(rows[0]["runs"].GetUint(), 2u);
  EXPECT_GT(rows[0]["floor_us"]["p50"].GetDouble(), 0);
  EXPECT_GT(rows[0]["first_instruction_us"]["p99"].GetDouble(), 0);
  EXPECT_GT(rows[0]["working_set_us"]["p90"].GetDouble(), 0);
}

TEST_F(BenchTest, AWorkingSetThatIsFilledAheadSparesThePagersFaults) {
  const rapidjson::Document rows =
      Rows({"--way", "uffd", "--way", "uffd-lazy-page", "--way", "map"});
  ASSERT_EQ(rows.Size(), 3u);
  EXPECT_LT(rows[0]["faults"]["p50"].GetDouble(), rows[1]["faults"]["p50"].GetDouble() / 10);
  EXPECT_EQ(rows[2]["faults"]["p50"].GetDouble(), 0);
}

TEST_F(BenchTest, ThePageNeedsNothingFromElsewhere) {
  const std::string page = PathFor("restore.html");
  ASSERT_EQ(Rows({"--way", "map", "--html", page}).Size(), 1u);
  const std::string html = Contents(page);
  EXPECT_EQ(html.find("<!doctype html>"), 0u);
  EXPECT_NE(html.find("128 MiB, map"), std::string::npos);
  EXPECT_EQ(html.find(" src="), std::string::npos);
  EXPECT_EQ(html.find("<link"), std::string::npos);
  EXPECT_EQ(FilesLeft(), 1u);
}

TEST_F(BenchTest, ABrowserDrawsEveryChartOfThePage) {
  if (RunProgram({"sh", "-c", "command -v chromium"}).status != 0) {
    GTEST_SKIP() << "there is no chromium (scripts/setup --dev installs it)";
  }
  const std::string page = PathFor("restore.html");
  ASSERT_EQ(Rows({"--way", "map", "--way", "uffd", "--html", page}).Size(), 2u);
  const ProgramResult shown =
      RunProgram({"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync",
                  "--user-data-dir=" + PathFor("profile"), "--dump-dom", "file://" + page});
  // The script says how many there are when it has come to its end: the time line, and one a row.
  EXPECT_NE(shown.out.find("data-charts=\"3\""), std::string::npos) << shown.err;
  EXPECT_NE(shown.out.find("<h3>128 MiB, uffd</h3>"), std::string::npos);
}

TEST_F(BenchTest, APageThatCannotBeWrittenIsAnErrorBeforeAnythingIsMeasured) {
  const ProgramResult result =
      Mayfly({"bench", "restore", "--html", PathFor("nowhere/restore.html")});
  ExpectError(result, 4, "--html");
}

TEST_F(BenchTest, ShellsMeasuresAllFour) {
  const ProgramResult result = Mayfly({"bench", "shells", "--runs", "3", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  rapidjson::Document times;
  times.Parse(result.out.c_str());
  EXPECT_EQ(times["runs"].GetUint(), 3u);
  EXPECT_GT(times["pooled_us"]["p50"].GetDouble(), 0);
  EXPECT_GT(times["pooled_floor_us"]["p99"].GetDouble(), 0);
  EXPECT_GT(times["unpooled_us"]["p50"].GetDouble(), 0);
  EXPECT_GT(times["jailed_us"]["p99"].GetDouble(), 0);
}

TEST_F(BenchTest, StormMeasuresEveryClone) {
  const ProgramResult result =
      Mayfly({"bench", "storm", "--clones", "20", "--threads", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  rapidjson::Document storm;
  storm.Parse(result.out.c_str());
  EXPECT_GT(storm["rate_per_s"].GetDouble(), 0);
  EXPECT_GT(storm["cpu_ms_per_clone"].GetDouble(), 0);
  EXPECT_GT(storm["p99_us"].GetDouble(), 0);
  EXPECT_EQ(storm["alive"].GetUint(), 20u);
  EXPECT_STREQ(storm["bounded_by"].GetString(), "--clones");
  EXPECT_GT(storm["private_kib_per_clone"].GetDouble(), 0);
}

TEST_F(BenchTest, AnUnknownWayIsRefusedByName) {
  const ProgramResult result = Mayfly({"bench", "restore", "--way", "magic"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("magic"), std::string::npos) << result.err;
}

TEST_F(BenchTest, AMemoryTooSmallForItsWorkingSetIsRefused) {
  const ProgramResult result =
      Mayfly({"bench", "restore", "--memory", "128M", "--working-set", "64"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("--memory"), std::string::npos) << result.err;
}

TEST_F(BenchTest, FaultsMeasuresEveryPatternAndFill) {
  const ProgramResult result =
      Mayfly({"bench", "faults", "--pages", "64", "--runs", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  rapidjson::Document rows;
  rows.Parse(result.out.c_str());
  ASSERT_TRUE(rows.IsArray());
  ASSERT_EQ(rows.Size(), 4u);
  EXPECT_STREQ(rows[0]["pattern"].GetString(), "sequential");
  EXPECT_EQ(rows[0]["run_bytes"].GetUint(), 4096u);
  EXPECT_STREQ(rows[3]["pattern"].GetString(), "random");
  EXPECT_EQ(rows[3]["run_bytes"].GetUint(), 65536u);
  EXPECT_GE(rows[0]["faults"]["p50"].GetDouble(), 64);
  EXPECT_LT(rows[2]["faults"]["p50"].GetDouble(), 32);
  EXPECT_GE(rows[3]["faults"]["p50"].GetDouble(), 64);
  EXPECT_GT(rows[1]["floor_us"]["p50"].GetDouble(), 0);
  EXPECT_GT(rows[1]["pager_us"]["p50"].GetDouble(), 0);
}

TEST_F(BenchTest, PagesThatAreNoPowerOfTwoAreRefused) {
  const ProgramResult result = Mayfly({"bench", "faults", "--pages", "100"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("--pages: 100"), std::string::npos) << result.err;
}

// With the test guest "control" in place of a Linux guest.
class FunctionBenchTest : public BenchTest {
 protected:
  void SetUp() override {
    BenchTest::SetUp();
    ASSERT_EQ(Mayfly({"build", Build("examples/echo-c"), "-o", PathFor("f.mfn")}).status, 0);
  }

  static void ExpectPercentiles(const rapidjson::Value& row, const char* key) {
    ASSERT_TRUE(row.HasMember(key)) << key;
    EXPECT_GT(row[key]["p50"].GetDouble(), 0) << key;
    EXPECT_GE(row[key]["p99"].GetDouble(), row[key]["p50"].GetDouble()) << key;
  }
};

TEST_F(FunctionBenchTest, BootMeasuresEveryStage) {
  const ProgramResult result = Mayfly({"bench", "boot", PathFor("f.mfn"), "--kernel",
                                       Build("test-guests/control"), "--runs", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  rapidjson::Document rows;
  rows.Parse(result.out.c_str());
  ASSERT_EQ(rows.Size(), 1u);
  EXPECT_EQ(rows[0]["runs"].GetUint(), 2u);
  for (const char* key : {"prepare_us", "boot_us", "load_us", "answer_us", "total_us"}) {
    ExpectPercentiles(rows[0], key);
  }
  EXPECT_GT(rows[0]["total_us"]["p50"].GetDouble(), rows[0]["prepare_us"]["p50"].GetDouble());
}

TEST_F(FunctionBenchTest, InvokeMeasuresEveryWay) {
  ASSERT_EQ(Mayfly({"snapshot", PathFor("f.mfn"), "--kernel", Build("test-guests/control"), "-o",
                    PathFor("f.snap")})
                .status,
            0);
  const ProgramResult result =
      Mayfly({"bench", "invoke", PathFor("f.snap"), "--runs", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  rapidjson::Document rows;
  rows.Parse(result.out.c_str());
  ASSERT_EQ(rows.Size(), 3u);
  EXPECT_STREQ(rows[0]["way"].GetString(), "map");
  EXPECT_STREQ(rows[1]["way"].GetString(), "uffd");
  EXPECT_STREQ(rows[2]["way"].GetString(), "eager");
  for (const auto& row : rows.GetArray()) {
    for (const char* key : {"restore_us", "answer_us", "total_us"}) ExpectPercentiles(row, key);
  }
}

TEST_F(FunctionBenchTest, ASnapshotThatIsNotThereIsAnError) {
  ExpectError(Mayfly({"bench", "invoke", PathFor("none.snap")}), 4, "none.snap");
}

TEST_F(FunctionBenchTest, AnUnknownWayOfFillingIsRefusedByName) {
  const ProgramResult result = Mayfly({"bench", "invoke", PathFor("f.snap"), "--way", "magic"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("--way: magic"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace mayfly
