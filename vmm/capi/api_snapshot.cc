// Snapshots and their clones.
#include "snapshot/snapshot_folder.h"
#include "vmm/capi/arguments.h"
#include "vmm/capi/entry.h"
#include "vmm/capi/function.h"
#include "vmm/capi/nets.h"
#include "vmm/capi/restore_arguments.h"
#include "vmm/capi/snapshot_object.h"
#include "vmm/capi/zygote_object.h"

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
  auto opened = TRY(FunctionTemplate::Open(directory, std::move(how)));
  return Publish(library, std::make_unique<SnapshotObject>(&library, std::move(opened)), out);
}

// Null if the pool is empty.
std::expected<std::unique_ptr<Shell>, Failure> TakeShell(const mayfly_pool* pool,
                                                         const FunctionTemplate& opened,
                                                         MemoryWay way) {
  const HandlePin pin = HandlePin::Take(pool, Kind::kPool);
  if (!pin) return FailWith(MAYFLY_E_HANDLE, "pool: not an open handle of a pool");
  PoolObject& object = *static_cast<PoolObject*>(pin.object());
  if (!object.IsFor(&opened)) return FailWith(MAYFLY_E_INVALID, "pool: of another snapshot");
  if (way != MemoryWay::kMap) {
    return FailWith(MAYFLY_E_INVALID, "pool: only with MAYFLY_MEMORY_MAP");
  }
  return object.shells().Take();
}

std::expected<std::shared_ptr<ZygoteProcess>, Failure> FindZygote(
    const mayfly_restore_options& given, const FunctionTemplate& opened) {
  const HandlePin pin = HandlePin::Take(given.zygote, Kind::kZygote);
  if (!pin) return FailWith(MAYFLY_E_HANDLE, "zygote: not an open handle of a zygote");
  const ZygoteObject& object = *static_cast<const ZygoteObject*>(pin.object());
  if (!object.IsFor(&opened)) return FailWith(MAYFLY_E_INVALID, "zygote: of another snapshot");
  if (given.memory != MAYFLY_MEMORY_MAP || given.pool != nullptr || given.net_count != 0) {
    return FailWith(MAYFLY_E_INVALID, "zygote: not with a pool, nets or another memory");
  }
  if (given.override_count != 0) {
    return FailWith(MAYFLY_E_UNSUPPORTED, "zygote: its clones have no overrides");
  }
  return object.process();
}

Status CreatePool(const SnapshotObject& snapshot, const mayfly_pool_options* options,
                  mayfly_pool** out) {
  TRY(CheckOut(out));
  mayfly_pool_options given{};
  TRY(ReadOptions(options, &given));
  Library& library = snapshot.library();
  auto pool = std::make_unique<PoolObject>(&library, snapshot.opened(), given.refill != 0);
  TRY(pool->shells().Fill(given.count));
  return Publish(library, std::move(pool), out);
}

Status Restore(const SnapshotObject& snapshot, const mayfly_restore_options* options,
               mayfly_function** out) {
  TRY(CheckOut(out));
  mayfly_restore_options given{};
  TRY(ReadOptions(options, &given));
  const FunctionTemplate& opened = *snapshot.opened();
  FunctionTemplate::Clone clone;
  clone.way = TRY(ReadMemoryWay(given.memory));
  clone.record = given.record != 0;
  if (clone.record && clone.way != MemoryWay::kUffd) {
    return FailWith(MAYFLY_E_INVALID, "record: only with MAYFLY_MEMORY_UFFD");
  }
  if (given.reserved != 0) return FailWith(MAYFLY_E_UNSUPPORTED, "restore options: reserved");
  if (given.snapshot != 0 && (clone.way != MemoryWay::kMap || given.zygote != nullptr)) {
    return FailWith(MAYFLY_E_INVALID,
                    "snapshot: only with MAYFLY_MEMORY_MAP, and without a zygote");
  }
  if (given.timeout_ms > FunctionDescription::kMostTimeoutMs) {
    return FailWith(MAYFLY_E_INVALID, "timeout_ms: too much");
  }
  clone.overrides = TRY(ReadOverrides(given.overrides, given.override_count));
  if (clone.overrides.cid) {
    return FailWith(MAYFLY_E_INVALID,
                    "overrides: vsock.cid: not for a function, whose sockets lead only to mayfly");
  }
  std::shared_ptr<ZygoteProcess> zygote;
  if (given.zygote != nullptr) zygote = TRY(FindZygote(given, opened));
  if (given.pool != nullptr) clone.shell = TRY(TakeShell(given.pool, opened, clone.way));
  Nets nets = TRY(ReadNets(given.nets, given.net_count, given.net_settings));
  for (const NetConfig& net : nets.configs) {
    if (net.mtu == 0 && net.link_up) continue;
    return FailWith(MAYFLY_E_INVALID, "net_settings: mtu and link_down are as they were saved");
  }
  Function::Parts parts;
  if (given.snapshot != 0) {
    const std::string path = TRY(RealPath(opened.path()));
    const std::string image = TRY(RealPath(opened.image().path()));
    parts.layer = Function::Layer{snapshot.opened(), path, image, TapsOf(nets)};
  }
  clone.nets = std::move(nets.configs);
  clone.addresses = std::move(nets.addresses);

  parts.name = opened.description().name;
  parts.timeout_ms = given.timeout_ms != 0 ? given.timeout_ms : opened.description().timeout_ms;
  parts.console = TRY(DuplicateOrNone(given.console_fd == 0 ? -1 : given.console_fd));
  clone.console_output = parts.console.get();
  Library& library = snapshot.library();
  auto on_log = LogCallbackOf(&library, {given.log, given.user});
  if (zygote) {
    parts.jailed = TRY(JailedFunction::Create(std::move(zygote), parts.console.get(),
                                              std::move(on_log), &library));
  } else {
    parts.machine = TRY(opened.Restore(std::move(clone), std::move(on_log), &library));
  }
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
    return WriteInfo(InfoOf(self.opened()->description()), info);
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

int mayfly_pool_create(mayfly_snapshot* snapshot, const struct mayfly_pool_options* options,
                       mayfly_pool** out) {
  return Enter<SnapshotObject>(
      snapshot, [&](const SnapshotObject& self) { return CreatePool(self, options, out); });
}

int mayfly_pool_fill(mayfly_pool* pool, uint32_t count) {
  return Enter<PoolObject>(pool, [&](PoolObject& self) -> Status {
    TRY(self.shells().Fill(count));
    return 0;
  });
}

int mayfly_pool_available(mayfly_pool* pool) {
  return Enter<PoolObject>(
      pool, [](PoolObject& self) -> Status { return static_cast<int>(self.shells().available()); });
}

int mayfly_pool_close(mayfly_pool* pool) { return CloseHandle<PoolObject>(pool); }
