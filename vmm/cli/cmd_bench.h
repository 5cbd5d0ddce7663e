#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/cli/cmd_invoke.h"
#include "vmm/cli/cmd_run.h"

namespace CLI {
class App;
}

namespace mayfly {

enum class BenchKind : uint8_t { kRestore, kFaults, kShells, kStorm, kBoot, kInvoke };

// `mayfly bench` as typed; empty where nothing was.
struct BenchArguments {
  BenchKind kind = BenchKind::kRestore;
  std::vector<std::string> memories;
  std::vector<std::string> ways;
  std::string working_set = "24";
  std::string runs = "200";
  std::string pages = "2048";
  std::string clones = "1000";
  std::string threads{};
  std::string guest_directory;
  std::string html;
  RunArguments boot;
  std::string boots = "20";
  InvokeArguments invoke;
  bool json = false;
};

struct BenchOptions {
  BenchKind kind = BenchKind::kRestore;
  std::vector<uint32_t> memories_mib;
  std::vector<std::string> ways;
  uint32_t working_set_mib = 24;
  uint32_t runs = 200;
  uint32_t pages = 2048;
  uint32_t clones = 1000;
  uint32_t threads = 0;  // 0: as many as RunStormBench() thinks best.
  std::string guest;
  std::string html;  // The file for the page; empty: none.
  RunOptions boot;
  RestoreOptions invoke;
  std::vector<FillMemory> fills;  // The ways of the latter.
  bool json = false;
};

// Declares the subcommand and its own; `arguments` must outlive `app`.
void AddBenchCommand(CLI::App& app, BenchArguments& arguments);

Result<BenchOptions> PrepareBench(const BenchArguments& arguments);

}  // namespace mayfly
