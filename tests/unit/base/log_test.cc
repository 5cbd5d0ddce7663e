#include "base/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mayfly {
namespace {

class FakeLog final : public LogSink {
 public:
  void Write(LogLevel level, std::string_view line) override {
    levels.push_back(level);
    lines.emplace_back(line);
  }

  std::vector<LogLevel> levels;
  std::vector<std::string> lines;
};

void WarnTimes(GuestLog* log, int times) {
  for (int i = 0; i < times; ++i) log->Warn("bad byte {}", i);
}

TEST(GuestLogTest, LineNamesTheDevice) {
  FakeLog sink;
  GuestLog log(&sink, "disk0");

  log.Warn("bad sector {}", 7);

  EXPECT_EQ(sink.lines, std::vector<std::string>{"disk0: bad sector 7"});
  EXPECT_EQ(sink.levels, std::vector<LogLevel>{LogLevel::kWarning});
}

TEST(GuestLogTest, AfterTheBurstOnlyPowersOfTwoAreWritten) {
  FakeLog sink;
  GuestLog log(&sink, "net0");

  WarnTimes(&log, 1000);

  EXPECT_EQ(sink.lines.size(), 10 + 6);  // 16, 32, ... 512.
  EXPECT_EQ(sink.lines[10], "net0: bad byte 15 (16 such so far)");
  EXPECT_EQ(log.count(), 1000);
}

TEST(GuestLogTest, WithoutASinkItOnlyCounts) {
  GuestLog log(nullptr, "net0");
  WarnTimes(&log, 3);
  EXPECT_EQ(log.count(), 3);
}

TEST(StderrLogTest, WritesLevelAndLine) {
  StderrLog log(LogLevel::kInfo);
  ::testing::internal::CaptureStderr();

  log.Write(LogLevel::kError, "no such file");
  log.Write(LogLevel::kDebug, "not shown");

  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "mayfly: error: no such file\n");
}

}  // namespace
}  // namespace mayfly
