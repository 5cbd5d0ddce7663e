#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// Jailed clones of the test guest "control".
class ApiZygoteTest : public ApiFixture {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, which the supervisor of a jail has";
    ApiFixture::SetUp();
    if (IsSkipped()) return;
    records_ = PathFor("jails");
    fs::create_directories(records_);
    fs::permissions(records_, fs::perms::owner_all);
    ::setenv("MAYFLY_RUN_DIR", records_.c_str(), 1);
    snapshot_ = OpenSnapshot();
  }
  void TearDown() override {
    if (snapshot_ != nullptr) {
      EXPECT_EQ(mayfly_snapshot_close(snapshot_), MAYFLY_OK);
      EXPECT_TRUE(fs::is_empty(records_));
    }
    ApiFixture::TearDown();
  }

  // A jail's filters know no sanitizer: a build with one has its zygotes of another build.
  static const char* Program() {
    const char* const other = std::getenv("MAYFLY_TEST_ZYGOTE");
    return other == nullptr ? MAYFLY_BUILD_DIR "/bin/mayfly" : other;
  }

  [[nodiscard]] mayfly_zygote* Start(uint32_t count) const {
    mayfly_zygote_options options = MAYFLY_ZYGOTE_OPTIONS_INIT;
    options.program = Program();
    options.count = count;
    mayfly_zygote* zygote = nullptr;
    EXPECT_EQ(mayfly_zygote_start(snapshot_, &options, &zygote), MAYFLY_OK) << ErrorOf(snapshot_);
    return zygote;
  }
  [[nodiscard]] mayfly_function* CloneOf(mayfly_zygote* zygote) const {
    mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
    options.zygote = zygote;
    mayfly_function* function = nullptr;
    EXPECT_EQ(mayfly_restore(snapshot_, &options, &function), MAYFLY_OK) << ErrorOf(snapshot_);
    return function;
  }

  // The processes of this test's that are jailed: they run in a process namespace of their own.
  static std::vector<pid_t> JailedProcesses() {
    std::vector<pid_t> processes;
    const fs::path own = fs::read_symlink("/proc/self/ns/pid");
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream file(entry.path() / "cmdline");
      std::string command;
      std::getline(file, command);
      std::error_code gone;
      const fs::path space = fs::read_symlink(entry.path() / "ns/pid", gone);
      if (gone || space == own || command.find(SnapshotPath()) == std::string::npos) continue;
      processes.push_back(std::stoi(name));
    }
    std::ranges::sort(processes);
    return processes;
  }

  std::string records_;
  mayfly_snapshot* snapshot_ = nullptr;
};

TEST_F(ApiZygoteTest, AJailedCloneAnswers) {
  mayfly_zygote* const zygote = Start(0);
  mayfly_function* const function = CloneOf(zygote);
  EXPECT_EQ(Invoke(function, "one"), "one");
  EXPECT_EQ(Invoke(function, "two"), "two");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, TheCommandIsFoundBesideTheProgram) {
  mayfly_zygote* zygote = nullptr;
  EXPECT_EQ(mayfly_zygote_start(snapshot_, nullptr, &zygote), MAYFLY_OK) << ErrorOf(snapshot_);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, ClonesThatWaitAheadAnswerLikeOthers) {
  mayfly_zygote* const zygote = Start(2);
  std::vector<mayfly_function*> functions;
  functions.reserve(4);
  for (int i = 0; i < 4; ++i) functions.push_back(CloneOf(zygote));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Invoke(functions[static_cast<size_t>(i)], std::to_string(i)), std::to_string(i));
  }
  for (mayfly_function* function : functions) EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, ALongEventAndAnswerComeInParts) {
  mayfly_zygote* const zygote = Start(1);
  mayfly_function* const function = CloneOf(zygote);
  const std::string event(60'000, 'e');
  EXPECT_EQ(Invoke(function, event), event);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, ClonesOutliveTheHandlesThatTheyWereMadeFrom) {
  mayfly_zygote* const zygote = Start(1);
  mayfly_function* const function = CloneOf(zygote);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
  EXPECT_EQ(Invoke(function, "still"), "still");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, ThreadsShareAZygote) {
  mayfly_zygote* const zygote = Start(2);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this, zygote, thread] {
      for (int i = 0; i < 5; ++i) {
        mayfly_function* const function = CloneOf(zygote);
        const std::string event = std::to_string(thread) + "-" + std::to_string(i);
        EXPECT_EQ(Invoke(function, event), event);
        EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, ACloneThatIsKilledTakesNoOtherWithIt) {
  mayfly_zygote* const zygote = Start(0);
  mayfly_function* const other = CloneOf(zygote);
  const std::vector<pid_t> before = JailedProcesses();
  mayfly_function* const function = CloneOf(zygote);
  std::vector<pid_t> after = JailedProcesses();
  std::erase_if(after, [&](pid_t process) { return std::ranges::count(before, process) != 0; });
  ASSERT_EQ(after.size(), 1);
  EXPECT_EQ(::kill(after[0], SIGKILL), 0);
  size_t size = 0;
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, &size), MAYFLY_E_GUEST);
  EXPECT_EQ(ErrorOf(function), "the clone was ended by signal 9");
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, &size), MAYFLY_E_STATE);
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_function_end(function, &end), MAYFLY_OK);
  EXPECT_EQ(Invoke(other, "alive"), "alive");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(other), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, AZygoteThatIsKilledTakesItsClonesWithIt) {
  mayfly_zygote* const zygote = Start(1);
  mayfly_function* const function = CloneOf(zygote);
  const std::vector<pid_t> processes = JailedProcesses();
  ASSERT_GE(processes.size(), 2);
  EXPECT_EQ(::kill(processes.front(), SIGKILL), 0);
  // Until then a clone may still answer.
  for (int waited = 0; waited < kMostMilliseconds && !JailedProcesses().empty(); ++waited) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  size_t size = 0;
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, &size), MAYFLY_E_GUEST);
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.zygote = zygote;
  mayfly_function* none = nullptr;
  EXPECT_LT(mayfly_restore(snapshot_, &options, &none), 0);
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
  EXPECT_TRUE(JailedProcesses().empty());
}

TEST_F(ApiZygoteTest, NothingIsLeftOfAHostThatIsGone) {
  const pid_t host = ::fork();
  ASSERT_GE(host, 0);
  if (host == 0) {
    mayfly_instance* lib = nullptr;
    mayfly_open(nullptr, &lib);
    (void)CloneOf(Start(2));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(host, &status, 0), host);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  for (int waited = 0; waited < kMostMilliseconds && !fs::is_empty(records_); ++waited) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(JailedProcesses().empty());
}

TEST_F(ApiZygoteTest, ACloneThatIsStoppedEnds) {
  mayfly_zygote* const zygote = Start(0);
  mayfly_function* const function = CloneOf(zygote);
  EXPECT_EQ(mayfly_function_stop(function), MAYFLY_OK);
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_function_end(function, &end), MAYFLY_OK);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, ACloneThatIsInterruptedEnds) {
  mayfly_zygote* const zygote = Start(0);
  mayfly_function* const function = CloneOf(zygote);
  EXPECT_EQ(mayfly_function_interrupt(function), MAYFLY_OK);
  size_t size = 0;
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, &size), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

TEST_F(ApiZygoteTest, MisuseIsRefused) {
  mayfly_zygote* zygote = nullptr;
  mayfly_zygote_options options = MAYFLY_ZYGOTE_OPTIONS_INIT;
  EXPECT_EQ(mayfly_zygote_start(nullptr, nullptr, &zygote), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_zygote_close(nullptr), MAYFLY_E_HANDLE);
  options.count = UINT32_MAX;
  EXPECT_EQ(mayfly_zygote_start(snapshot_, &options, &zygote), MAYFLY_E_TOO_LARGE);
  options.count = 0;
  options.program = "/nowhere/mayfly";
  EXPECT_EQ(mayfly_zygote_start(snapshot_, &options, &zygote), MAYFLY_E_NOT_FOUND);
  options.program = Program();
  options.limit = "colour=red";
  EXPECT_LT(mayfly_zygote_start(snapshot_, &options, &zygote), 0);
  EXPECT_EQ(zygote, nullptr);

  zygote = Start(0);
  mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
  restore.zygote = zygote;
  restore.memory = MAYFLY_MEMORY_UFFD;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot_, &restore, &function), MAYFLY_E_INVALID);
  restore.memory = MAYFLY_MEMORY_MAP;
  restore.snapshot = 1;
  EXPECT_EQ(mayfly_restore(snapshot_, &restore, &function), MAYFLY_E_INVALID);
  restore.snapshot = 0;
  mayfly_snapshot* const other = OpenSnapshot();
  EXPECT_EQ(mayfly_restore(other, &restore, &function), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_snapshot_close(other), MAYFLY_OK);
  function = CloneOf(zygote);
  size_t size = 0;
  EXPECT_EQ(mayfly_function_metrics(function, nullptr, &size), MAYFLY_E_UNSUPPORTED);
  EXPECT_EQ(mayfly_function_metrics_text(function, nullptr, &size), MAYFLY_E_UNSUPPORTED);
  mayfly_times times = MAYFLY_TIMES_INIT;
  EXPECT_EQ(mayfly_function_times(function, &times), MAYFLY_E_UNSUPPORTED);
  EXPECT_EQ(mayfly_function_record(function, "x"), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_snapshot(function, "x"), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
  EXPECT_EQ(mayfly_restore(snapshot_, &restore, &function), MAYFLY_E_HANDLE);
}

TEST_F(ApiZygoteTest, OverridesAreNotForJailedClones) {
  mayfly_zygote* const zygote = Start(0);
  const char* const text = "generation=00112233445566778899aabbccddeeff";
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.zygote = zygote;
  options.overrides = &text;
  options.override_count = 1;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot_, &options, &function), MAYFLY_E_UNSUPPORTED);
  EXPECT_NE(ErrorOf(snapshot_).find("overrides"), std::string::npos) << ErrorOf(snapshot_);
  EXPECT_EQ(mayfly_zygote_close(zygote), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
