// Snapshots as directories: what they are, whether they are whole, and what nobody needs.
#include <fmt/format.h>

#include "base/file.h"
#include "snapshot/garbage.h"
#include "snapshot/snapshot_facts.h"
#include "snapshot/snapshot_writer.h"
#include "vmm/capi/arguments.h"
#include "vmm/capi/entry.h"
#include "vmm/capi/library.h"

namespace mayfly::capi {
namespace {

constexpr size_t kMostKept = 1'000'000;

int FateOf(Garbage::Fate fate) {
  switch (fate) {
    case Garbage::Fate::kRemoved:
      return MAYFLY_GARBAGE_REMOVED;
    case Garbage::Fate::kInUse:
      return MAYFLY_GARBAGE_IN_USE;
    case Garbage::Fate::kDamaged:
      return MAYFLY_GARBAGE_DAMAGED;
  }
  return MAYFLY_GARBAGE_DAMAGED;
}

Result<std::optional<std::vector<std::string>>> ReadKept(const mayfly_collect_options& given) {
  if (given.keep == nullptr && given.keep_count == 0) return std::nullopt;
  // A list that came out empty is a mistake rather than a wish to lose everything.
  if (given.keep == nullptr || given.keep_count == 0) {
    return Fail(ErrorCode::kInvalidArgument, "keep: an array and its length, or neither");
  }
  if (given.keep_count > kMostKept) {
    return Fail(ErrorCode::kTooLarge, fmt::format("keep: {} are the most", kMostKept));
  }
  std::vector<std::string> kept;
  kept.reserve(given.keep_count);
  for (size_t i = 0; i < given.keep_count; ++i) {
    kept.push_back(TRY(ReadPath(given.keep[i], fmt::format("keep[{}]", i))));
  }
  return kept;
}

Status Collect(const Library& library, const char* directory,
               const mayfly_collect_options* options) {
  mayfly_collect_options given{};
  TRY(ReadOptions(options, &given));
  if (given.reserved != 0) return FailWith(MAYFLY_E_UNSUPPORTED, "collect options: reserved");
  GarbageOptions what;
  what.directory = TRY(ReadPath(directory, "directory"));
  what.keep = TRY(ReadKept(given));
  what.dry_run = given.dry_run != 0;
  const std::vector<Garbage> found = TRY(CollectGarbage(what));
  if (given.found == nullptr) return 0;
  const Library::CallbackScope scope(&library);
  for (const Garbage& garbage : found) {
    given.found(given.user, FateOf(garbage.fate), garbage.name.c_str(), garbage.what.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace mayfly::capi

using namespace mayfly;
using namespace mayfly::capi;

int mayfly_snapshot_describe(mayfly_instance* lib, const char* path, void* buffer, size_t* size) {
  return Enter<Library>(lib, [&](const Library&) -> Status {
    const std::string directory = TRY(ReadPath(path, "path"));
    const SnapshotFacts facts = TRY(FactsOf(directory));
    return CopyOut(AsBytes(ToJson(facts)), buffer, size);
  });
}

int mayfly_snapshot_verify(mayfly_instance* lib, const char* path) {
  return Enter<Library>(lib, [&](const Library&) -> Status {
    const std::string directory = TRY(ReadPath(path, "path"));
    TRY(VerifySnapshot(directory));
    return 0;
  });
}

int mayfly_snapshot_flatten(mayfly_instance* lib, const char* path, const char* to) {
  return Enter<Library>(lib, [&](const Library& library) -> Status {
    const std::string from = TRY(ReadPath(path, "path"));
    const std::string into = TRY(ReadPath(to, "to"));
    TRY(FlattenSnapshot(from, into, library.stamps()));
    return 0;
  });
}

int mayfly_snapshot_collect(mayfly_instance* lib, const char* directory,
                            const struct mayfly_collect_options* options) {
  return Enter<Library>(
      lib, [&](const Library& library) { return Collect(library, directory, options); });
}
