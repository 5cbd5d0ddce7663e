// Measures virtio devices from inside a guest beside what the host does without a machine, in
// turns.

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/bench/bench_machine.h"
#include "tests/bench/host_disk.h"
#include "tests/bench/host_net.h"
#include "tests/bench/host_stream.h"
#include "tests/bench/measurement.h"

namespace mayfly {
namespace {

constexpr const char* kAbout =
    "Measures virtio-blk, -net and -vsock with a small guest that polls, and beside them, in "
    "turns,\n"
    "the same reads through an io_uring, the same frames through a tap and the same bytes through\n"
    "a Unix socket. Files are in the page cache. An \"exit\" is what a guest's access to a port "
    "that\n"
    "nobody claims costs. Needs /dev/kvm, and root for taps.";

struct Options {
  int runs = 7;
  double seconds = 0.2;
  std::string directory = "/tmp";
  std::string only;
  uint64_t disk_mib = 256;
  bool json = false;
};

// One line of the table. `host` is empty where the host has nothing like it.
struct Case {
  std::string name;
  std::function<Result<Measurement>()> guest;
  std::function<Result<Measurement>()> host;
  Series guest_runs{};
  Series host_runs{};
};

// What the cases share: the disk's file, taps, the socket's path.
class Bench {
 public:
  static Result<std::unique_ptr<Bench>> Create(const Options& options) {
    std::unique_ptr<Bench> bench(new Bench(options));
    std::string pattern = options.directory + "/mayfly-bench.XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return FailErrno(pattern);
    bench->directory_ = pattern;
    TRY(bench->WriteDisk());
    bench->AddExits();
    bench->AddDisks();
    // Taps belong to a network of this process's own, and go with it.
    if (::unshare(CLONE_NEWNET) == 0 && AddTap("bench0") && AddTap("bench1")) {
      bench->AddNets();
    } else {
      fmt::print(stderr, "no network cases: taps need root\n");
    }
    bench->AddVsocks();
    return bench;
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  Result<void> Run() {
    for (int run = 0; run < options_.runs; ++run) {
      for (Case& one : cases_) {
        if (one.name.find(options_.only) == std::string::npos) continue;
        if (one.host) one.host_runs.Add(TRY(WithContext(one.host(), one.name)));
        one.guest_runs.Add(TRY(WithContext(one.guest(), one.name)));
      }
      fmt::print(stderr, "run {} of {}\n", run + 1, options_.runs);
    }
    return {};
  }

  [[nodiscard]] const std::vector<Case>& cases() const { return cases_; }

 private:
  explicit Bench(Options options) : options_(std::move(options)) {}

  [[nodiscard]] std::string disk() const { return directory_ + "/disk"; }

  // Real blocks, in the page cache.
  Result<void> WriteDisk() {
    const UniqueFd file = TRY(OpenFile(disk(), O_RDWR | O_CREAT));
    const std::vector<uint8_t> bytes(1 << 20, 0x5a);
    for (uint64_t i = 0; i < options_.disk_mib; ++i) TRY(WriteAll(file.get(), bytes, disk()));
    return {};
  }

  void AddExits() {
    for (const char* kind : {"port-exit", "mmio-exit"}) {
      cases_.push_back(
          {kind, [this, kind] { return machine_.Run({}, kind, options_.seconds); }, nullptr});
    }
  }

  void AddDisks() {
    for (const bool write : {false, true}) {
      for (const uint32_t size : {4096U, 131072U}) {
        for (const unsigned depth : {1U, 32U}) {
          const DiskLoad load{size, depth, size != 4096, write};
          const std::string part = write ? "write" : "read";
          const std::string numbers = fmt::format(" {} {} {} {}", size, depth,
                                                  load.sequential ? 1 : 0, options_.disk_mib << 20);
          cases_.push_back({fmt::format("{} {} KiB x{}", part, size >> 10, depth),
                            [this, part, numbers] {
                              MachineConfig config;
                              config.disks.push_back({disk(), false, UniqueFd()});
                              return machine_.Run(std::move(config), part, options_.seconds,
                                                  numbers);
                            },
                            [this, load] { return MeasureDisk(disk(), load, options_.seconds); }});
        }
      }
    }
  }

  Result<Measurement> RunNet(const std::string& part, size_t frame) const {
    MachineConfig config;
    NetConfig net;
    net.tap = "bench0";
    config.nets.push_back(std::move(net));
    return machine_.Run(std::move(config), part, options_.seconds, fmt::format(" {}", frame));
  }

  void AddNets() {
    cases_.push_back({"net kick", [this] { return RunNet("net-kick", 0); }, nullptr});
    for (const size_t frame : {64U, 1500U}) {
      cases_.push_back(
          {fmt::format("net send {}", frame), [this, frame] { return RunNet("net-send", frame); },
           [this, frame] { return MeasureTapWrite("bench1", frame, options_.seconds); }});
      cases_.push_back(
          {fmt::format("net receive {}", frame),
           [this, frame] {
             const Flood flood("bench0", frame);
             return RunNet("net-receive", frame);
           },
           [this, frame] { return MeasureTapRead("bench1", frame, options_.seconds); }});
    }
  }

  void AddVsock(const std::string& name, const std::string& part, StreamLoad load, size_t size) {
    cases_.push_back(
        {name,
         [this, part, load, size]() -> Result<Measurement> {
           const std::string path = directory_ + "/vsock";
           const StreamPeer peer = TRY(StreamPeer::Listen(path + "_1234", load));
           MachineConfig config;
           config.vsock = VsockConfig{3, path, nullptr};
           return machine_.Run(std::move(config), part, options_.seconds, fmt::format(" {}", size));
         },
         [this, load, size] { return MeasureUnixSocket(load, size, options_.seconds); }});
  }

  void AddVsocks() {
    AddVsock("vsock round trip 64", "vsock-round-trip", StreamLoad::kRoundTrip, 64);
    AddVsock("vsock send 16 KiB", "vsock-send", StreamLoad::kSend, 16 << 10);
    AddVsock("vsock receive 64 KiB", "vsock-receive", StreamLoad::kReceive, 64 << 10);
  }

  const Options options_;
  const BenchMachine machine_;
  std::string directory_;
  std::vector<Case> cases_;
};

std::string LatencyOf(const Series& series) {
  if (!series.has_latency()) return "";
  return fmt::format("{:.1f} / {:.1f}", series.latency(0.5), series.latency(0.99));
}

void PrintTable(const std::vector<Case>& cases) {
  fmt::print("{:22}{:>11}{:>11}{:>7}{:>7}{:>9}{:>9}{:>18}{:>18}{:>8}\n", "", "guest op/s",
             "host op/s", "ratio", "best", "MB/s", "MB/s", "guest p50/p99 us", "host p50/p99 us",
             "kick/op");
  for (const Case& one : cases) {
    const Series& guest = one.guest_runs;
    const Series& host = one.host_runs;
    if (guest.empty()) continue;
    fmt::print("{:22}{:11.0f}", one.name, guest.operations_per_second());
    if (host.empty()) {
      fmt::print("{:>11}{:>7}{:>7}{:>9}{:>9}", "", "", "", "", "");
    } else {
      fmt::print("{:11.0f}{:7.2f}{:7.2f}{:9.0f}{:9.0f}", host.operations_per_second(),
                 guest.operations_per_second() / host.operations_per_second(),
                 guest.most_operations_per_second() / host.most_operations_per_second(),
                 guest.megabytes_per_second(), host.megabytes_per_second());
    }
    fmt::print("{:>18}{:>18}{:>8}\n", LatencyOf(guest), LatencyOf(host),
               guest.has_kicks() ? fmt::format("{:.3f}", guest.kicks()) : "");
  }
}

std::string JsonOf(const Series& series) {
  std::string text = fmt::format(
      R"({{"operations_per_second": {:.1f}, "most": {:.1f}, "bytes_per_second": {:.0f})",
      series.operations_per_second(), series.most_operations_per_second(),
      series.megabytes_per_second() * 1e6);
  if (series.has_latency()) {
    text += fmt::format(R"(, "p50_us": {:.2f}, "p99_us": {:.2f})", series.latency(0.5),
                        series.latency(0.99));
  }
  if (series.has_kicks()) {
    text += fmt::format(R"(, "kicks_per_operation": {:.4f})", series.kicks());
  }
  return text + "}";
}

void PrintJson(const std::vector<Case>& cases) {
  std::string text;
  for (const Case& one : cases) {
    if (one.guest_runs.empty()) continue;
    text += fmt::format("{}\n  \"{}\": {{\"guest\": {}", text.empty() ? "" : ",", one.name,
                        JsonOf(one.guest_runs));
    if (!one.host_runs.empty()) text += fmt::format(", \"host\": {}", JsonOf(one.host_runs));
    text += "}";
  }
  fmt::print("{{{}\n}}\n", text);
}

int Main(const Options& options) {
  const auto bench = Bench::Create(options);
  const Result<void> ran = bench ? (*bench)->Run() : std::unexpected(bench.error());
  if (!ran) {
    fmt::print(stderr, "mayfly-device-bench: {}\n", ran.error().message());
    return 1;
  }
  if (options.json) {
    PrintJson((*bench)->cases());
  } else {
    PrintTable((*bench)->cases());
  }
  return 0;
}

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  try {
    mayfly::Options options;
    CLI::App app{mayfly::kAbout};
    app.add_option("--runs", options.runs, "How often each is measured; medians are printed")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    app.add_option("--seconds", options.seconds, "Of each measurement")
        ->capture_default_str()
        ->check(CLI::Range(0.01, 10.0));
    app.add_option("--directory", options.directory, "Where the disk's file is made")
        ->capture_default_str();
    app.add_option("--disk", options.disk_mib, "The disk's size in MiB")
        ->capture_default_str()
        ->check(CLI::Range(1, 65536));
    app.add_option("--only", options.only, "Only what has this in its name");
    app.add_flag("--json", options.json, "JSON instead of a table");
    CLI11_PARSE(app, argc, argv);
    return mayfly::Main(options);
  } catch (const std::exception& failure) {
    fmt::print(stderr, "mayfly-device-bench: {}\n", failure.what());
    return 1;
  }
}
