#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/temp_dir.h"
#include "jailer/jail.h"
#include "tests/support/program.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kAbout[] =
    "What a jail costs: its set-up alone, one after the other and with rests, with the host's "
    "mounts\n"
    "and with 500 more, and mayfly invoke with and without one. Prints the least, the median and "
    "the 99th percentile in milliseconds.\n"
    "Needs root.";
constexpr int kMounts = 500;
// What the kernel has to wait for before it moves a process, it waits for once if it comes often.
constexpr std::chrono::milliseconds kRest{50};

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void PrintRow(const std::string& name, std::vector<double> times) {
  std::ranges::sort(times);
  const size_t last = times.size() - 1;
  fmt::print("{:<34} {:>8.2f} {:>8.2f} {:>8.2f}\n", name, times.front(), times[last / 2],
             times[last * 99 / 100]);
}

// From the wish for a jail to the first instruction in it that is not the jailer's.
Result<double> SetUpOnce(const std::string& records) {
  JailOptions options;
  options.record_directory = records;
  options.cgroup.memory_bytes = 512 << 20;
  options.cgroup.processes = 64;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return FailErrno("pipe2");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const int to = writer.get();
  const auto start = Clock::now();
  auto jail = TRY(Jail::Create(std::move(options)));
  TRY(jail->Start({to}, [to, start] {
    const double elapsed = MillisecondsSince(start);
    return ::write(to, &elapsed, sizeof(elapsed)) == sizeof(elapsed) ? 0 : 1;
  }));
  writer.Reset();
  double elapsed = 0;
  if (::read(reader.get(), &elapsed, sizeof(elapsed)) != sizeof(elapsed)) {
    return Fail(ErrorCode::kHost, "no jail");
  }
  (void)TRY(jail->Wait());
  return elapsed;
}

Result<void> MeasureSetUp(const std::string& name, const std::string& records, int runs,
                          std::chrono::milliseconds pause = {}) {
  std::vector<double> times;
  for (int run = 0; run < runs; ++run) {
    std::this_thread::sleep_for(pause);
    times.push_back(TRY(SetUpOnce(records)));
  }
  PrintRow(name, std::move(times));
  return {};
}

Result<void> MountMany(const std::string& directory) {
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno("unshare");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return FailErrno("mount");
  for (int i = 0; i < kMounts; ++i) {
    const std::string path = fmt::format("{}/{}", directory, i);
    std::filesystem::create_directory(path);
    if (::mount("none", path.c_str(), "tmpfs", 0, "size=4k") != 0) return FailErrno(path);
  }
  return {};
}

Result<double> InvokeOnce(const std::vector<std::string>& command) {
  const auto start = Clock::now();
  const ProgramResult result = RunProgram(command);
  const double elapsed = MillisecondsSince(start);
  if (result.status != 0) return Fail(ErrorCode::kHost, result.err);
  return elapsed;
}

Result<void> MeasureInvoke(const std::string& directory, int runs) {
  const std::string mayfly = std::string(MAYFLY_BUILD_DIR) + "/bin/mayfly";
  const std::string kernel = std::string(MAYFLY_BUILD_DIR) + "/test-guests/control";
  const std::string image = directory + "/f.mfn";
  const std::string snapshot = directory + "/f.snap";
  (void)TRY(InvokeOnce(
      {mayfly, "build", std::string(MAYFLY_BUILD_DIR) + "/examples/echo-c", "-o", image}));
  (void)TRY(InvokeOnce({mayfly, "snapshot", image, "--kernel", kernel, "-o", snapshot}));
  const std::vector<std::string> plain{mayfly, "invoke", snapshot, "--event", "[1]"};
  std::vector<std::string> jailed = plain;
  jailed.emplace_back("--jail");
  std::vector<double> without;
  std::vector<double> with;
  for (int run = 0; run < runs; ++run) {
    without.push_back(TRY(InvokeOnce(plain)));
    with.push_back(TRY(InvokeOnce(jailed)));
  }
  PrintRow("mayfly invoke", std::move(without));
  PrintRow("mayfly invoke --jail", std::move(with));
  return {};
}

Result<void> Measure(int runs) {
  const TempDir directory = TRY(TempDir::Create("/tmp/mayfly-jail-bench."));
  // In memory, as /run is on most hosts, where the records of jails are.
  const TempDir shared = TRY(TempDir::Create("/dev/shm/mayfly-jail-bench."));
  const std::string records = shared.path() + "/records";
  fmt::print("{:<34} {:>8} {:>8} {:>8}\n", "ms", "least", "p50", "p99");
  TRY(MeasureSetUp("jail set-up", records, runs));
  TRY(MeasureSetUp(fmt::format("jail set-up, {} ms after the last", kRest.count()), records, runs,
                   kRest));
  TRY(MeasureInvoke(directory.path(), runs));
  TRY(MountMany(directory.path()));
  TRY(MeasureSetUp(fmt::format("jail set-up, {} mounts more", kMounts), records, runs));
  for (int i = 0; i < kMounts; ++i) {
    ::umount2(fmt::format("{}/{}", directory.path(), i).c_str(), MNT_DETACH);
  }
  return {};
}

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  try {
    int runs = 200;
    CLI::App app{mayfly::kAbout};
    app.add_option("--runs", runs, "How often each is measured")
        ->capture_default_str()
        ->check(CLI::Range(1, 100000));
    CLI11_PARSE(app, argc, argv);
    const mayfly::Result<void> measured = mayfly::Measure(runs);
    if (measured) return 0;
    fmt::print(stderr, "mayfly-jail-bench: {}\n", measured.error().message());
  } catch (const std::exception& failure) {
    fmt::print(stderr, "mayfly-jail-bench: {}\n", failure.what());
  }
  return 1;
}
