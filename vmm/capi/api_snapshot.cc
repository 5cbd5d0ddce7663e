// Snapshots and their clones.
#include "vmm/capi/arguments.h"
#include "vmm/capi/entry.h"
#include "vmm/capi/function.h"
#include "vmm/capi/nets.h"
#include "vmm/capi/snapshot_object.h"

namespace mayfly::capi {
namespace {

Status OpenSnapshot(Library& library, const char* path, const mayfly_snapshot_options* options,
                    mayfly_snapshot** out) {
  TRY(CheckOut(out));
  mayfly_snapshot_options given{};
  TRY(ReadOptions(options, &given));
  FunctionTemplate::Options how;
  how.image = TRY(ReadText(given.image, "image"));
  how.unverified = given.unverified != 0;
  how.use_working_set = given.no_working_set == 0;
  how.stamps = library.stamps();
  const std::string directory = TRY(ReadPath(path, "path"));
  auto opened = TRY(FunctionTemplate::Open(directory, how));
  return Publish(library, std::make_unique<SnapshotObject>(&library, std::move(opened)), out);
}

Result<MemoryWay> WayOf(int memory) {
  switch (memory) {
    case MAYFLY_MEMORY_MAP:
      return MemoryWay::kMap;
    case MAYFLY_MEMORY_UFFD:
      return MemoryWay::kUffd;
    case MAYFLY_MEMORY_EAGER:
      return MemoryWay::kEager;
    default:
      return Fail(ErrorCode::kInvalidArgument, "memory: expected one of MAYFLY_MEMORY_*");
  }
}

Status Restore(const SnapshotObject& snapshot, const mayfly_restore_options* options,
               mayfly_function** out) {
  TRY(CheckOut(out));
  mayfly_restore_options given{};
  TRY(ReadOptions(options, &given));
  const FunctionTemplate& opened = snapshot.opened();
  FunctionTemplate::Clone clone;
  clone.way = TRY(WayOf(given.memory));
  clone.record = given.record != 0;
  if (clone.record && clone.way != MemoryWay::kUffd) {
    return FailWith(MAYFLY_E_INVALID, "record: only with MAYFLY_MEMORY_UFFD");
  }
  if (given.timeout_ms > FunctionDescription::kMostTimeoutMs) {
    return FailWith(MAYFLY_E_INVALID, "timeout_ms: too much");
  }
  Nets nets = TRY(ReadNets(given.nets, given.net_count));
  clone.nets = std::move(nets.configs);
  clone.addresses = std::move(nets.addresses);

  Function::Parts parts;
  parts.name = opened.description().name;
  parts.timeout_ms = given.timeout_ms != 0 ? given.timeout_ms : opened.description().timeout_ms;
  parts.console = TRY(DuplicateOrNone(given.console_fd == 0 ? -1 : given.console_fd));
  clone.console_output = parts.console.get();
  Library& library = snapshot.library();
  parts.machine = TRY(
      opened.Restore(std::move(clone), LogCallbackOf(&library, {given.log, given.user}), &library));
  return Publish(library, std::make_unique<Function>(&library, std::move(parts)), out);
}

}  // namespace
}  // namespace mayfly::capi

using namespace mayfly;
using namespace mayfly::capi;

int mayfly_snapshot_open(mayfly_instance* lib, const char* path,
                         const struct mayfly_snapshot_options* options, mayfly_snapshot** out) {
  return Enter<Library>(
      lib, [&](Library& library) { return OpenSnapshot(library, path, options, out); });
}

int mayfly_snapshot_info(mayfly_snapshot* snapshot, struct mayfly_function_info* info) {
  return Enter<SnapshotObject>(snapshot, [&](const SnapshotObject& self) {
    return WriteInfo(InfoOf(self.opened().description()), info);
  });
}

int mayfly_snapshot_close(mayfly_snapshot* snapshot) {
  return CloseHandle<SnapshotObject>(snapshot);
}

int mayfly_restore(mayfly_snapshot* snapshot, const struct mayfly_restore_options* options,
                   mayfly_function** out) {
  return Enter<SnapshotObject>(
      snapshot, [&](const SnapshotObject& self) { return Restore(self, options, out); });
}
