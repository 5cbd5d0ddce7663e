#include "vmm/cli/snapshot_reports.h"

#include <fmt/format.h>

#include "snapshot/snapshot_facts.h"
#include "vmm/cli/output.h"
#include "vmm/function/kernel_bundle.h"

namespace mayfly {
namespace {

std::string Text(const SnapshotFacts& facts) {
  const Manifest& manifest = facts.manifest;
  std::string text = fmt::format(
      "memory        {} MiB, {:.1f} MiB of it not zero\n"
      "vcpus         {}\n"
      "working set   {} pages\n"
      "made by       mayfly {} on {}\n",
      manifest.memory_bytes >> 20, static_cast<double>(facts.data_bytes) / (1 << 20),
      manifest.vcpus, facts.working_set_pages, manifest.mayfly_version, manifest.cpu);
  for (const Manifest::Disk& disk : manifest.disks) text += "disk          " + disk.path + "\n";
  for (const Manifest::Net& net : manifest.nets) text += "tap           " + net.tap + "\n";
  if (manifest.function) text += "function      " + manifest.function->description + "\n";
  if (manifest.parent) {
    text += fmt::format("parent        {}, in all {}\n", manifest.parent->path, facts.parents);
  }
  return text;
}

}  // namespace

int ReportSnapshot(const std::string& directory, bool json) {
  const Result<SnapshotFacts> facts = FactsOf(directory);
  if (!facts) return ReportError(facts.error());
  return PrintText(json ? ToJson(*facts) + "\n" : Text(*facts));
}

int ReportSaved(const FunctionMachine::Saved& saved) {
  const auto pause = std::chrono::duration_cast<std::chrono::microseconds>(saved.pause).count();
  return PrintText(fmt::format("{{\"pause_us\":{},\"data_bytes\":{}}}\n", pause, saved.data_bytes));
}

std::string StampDirectory() {
  const std::string kernels = KernelCacheDirectory();
  return kernels.substr(0, kernels.rfind('/')) + "/verified";
}

}  // namespace mayfly
