#include "vmm/cli/manage_snapshots.h"

#include <fmt/format.h>

#include "snapshot/snapshot_writer.h"
#include "vmm/cli/output.h"
#include "vmm/cli/snapshot_reports.h"

namespace mayfly {
namespace {

Result<void> Flatten(const std::string& from, const std::string& to) {
  const VerifiedStamps stamps = TRY(VerifiedStamps::Open(StampDirectory()));
  return FlattenSnapshot(from, to, &stamps);
}

std::string LineFor(const Garbage& garbage, bool dry_run) {
  switch (garbage.fate) {
    case Garbage::Fate::kInUse:
      return fmt::format("kept           {} ({})\n", garbage.name, garbage.what);
    case Garbage::Fate::kDamaged:
      return fmt::format("left alone     {} ({})\n", garbage.name, garbage.what);
    case Garbage::Fate::kRemoved:
      break;
  }
  return fmt::format("{} {} ({})\n", dry_run ? "would remove  " : "removed       ", garbage.name,
                     garbage.what);
}

}  // namespace

int RunFlatten(const std::string& from, const std::string& to) {
  const Result<void> flattened = Flatten(from, to);
  return flattened ? 0 : ReportError(flattened.error());
}

int RunGarbageCollection(const GarbageOptions& options) {
  const auto collected = CollectGarbage(options);
  if (!collected) return ReportError(collected.error());
  std::string text;
  for (const Garbage& garbage : *collected) text += LineFor(garbage, options.dry_run);
  return PrintText(text);
}

}  // namespace mayfly
