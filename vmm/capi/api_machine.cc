// Machines.
#include "base/file.h"
#include "vmm/capi/arguments.h"
#include "vmm/capi/entry.h"
#include "vmm/capi/machine_object.h"
#include "vmm/capi/nets.h"
#include "vmm/capi/restore_arguments.h"

using namespace mayfly;
using namespace mayfly::capi;

namespace {

// The kernel takes no more, and a machine's configuration is not bounded otherwise.
constexpr size_t kMostDisks = 16;

}  // namespace

int mayfly_machine_create(mayfly_instance* lib, mayfly_machine** out) {
  return Enter<Library>(lib, [&](Library& library) -> Status {
    TRY(CheckOut(out));
    auto machine = TRY(MachineObject::Create(&library));
    return Publish(library, std::move(machine), out);
  });
}

int mayfly_machine_set_kernel(mayfly_machine* machine, const char* kernel, const char* initrd,
                              const char* command_line) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.ConfigureKernel([&](MachineConfig& config) -> Status {
      std::string path = TRY(ReadPath(kernel, "kernel"));
      std::string initrd_path = TRY(ReadText(initrd, "initrd"));
      config.command_line = TRY(ReadText(command_line, "command_line"));
      config.kernel = std::move(path);
      config.initrd_path = std::move(initrd_path);
      return 0;
    });
  });
}

int mayfly_machine_set_snapshot(mayfly_machine* machine, const char* path,
                                const struct mayfly_machine_snapshot_options* options) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) -> Status {
    mayfly_machine_snapshot_options given{};
    TRY(ReadOptions(options, &given));
    MachineSource source{TRY(ReadPath(path, "path"))};
    source.options.way = TRY(ReadMemoryWay(given.memory));
    source.options.unverified = given.unverified != 0;
    if (const VerifiedStamps* stamps = self.library().stamps()) source.options.stamps = *stamps;
    source.options.overrides = TRY(ReadOverrides(given.overrides, given.override_count));
    return self.SetSnapshot(std::move(source));
  });
}

int mayfly_machine_set_memory(mayfly_machine* machine, uint64_t bytes) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.ConfigureKernel([&](MachineConfig& config) -> Status {
      if (bytes < MachineConfig::kLeastMemory || bytes % GuestMemory::kPageSize != 0) {
        return FailWith(MAYFLY_E_INVALID, "memory: expected whole pages, 64 MiB at least");
      }
      config.memory_bytes = bytes;
      return 0;
    });
  });
}

int mayfly_machine_set_vcpus(mayfly_machine* machine, uint32_t count) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.ConfigureKernel([&](MachineConfig& config) -> Status {
      if (count < 1 || count > MachineConfig::kMostVcpus) {
        return FailWith(MAYFLY_E_INVALID, "vcpus: expected 1 to 32");
      }
      config.vcpu_count = count;
      return 0;
    });
  });
}

int mayfly_machine_set_console(mayfly_machine* machine, int input_fd, int output_fd) {
  return Enter<MachineObject>(
      machine, [&](MachineObject& self) { return self.SetConsole(input_fd, output_fd); });
}

int mayfly_machine_add_disk(mayfly_machine* machine, const char* path, const char* overlay,
                            uint32_t flags) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.Configure([&](MachineConfig& config) -> Status {
      if ((flags & ~uint32_t{MAYFLY_DISK_READ_ONLY}) != 0) {
        return FailWith(MAYFLY_E_UNSUPPORTED, "flags: one that this version does not know");
      }
      if (config.disks.size() >= kMostDisks) return FailWith(MAYFLY_E_TOO_LARGE, "too many disks");
      DiskConfig disk;
      disk.path = TRY(ReadPath(path, "path"));
      disk.overlay = TRY(ReadText(overlay, "overlay"));
      disk.read_only = (flags & MAYFLY_DISK_READ_ONLY) != 0;
      config.disks.push_back(std::move(disk));
      return 0;
    });
  });
}

int mayfly_machine_add_net(mayfly_machine* machine, const struct mayfly_net* net) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.Configure([&](MachineConfig& config) -> Status {
      if (net == nullptr) return FailWith(MAYFLY_E_INVALID, "a null pointer for the net");
      if (config.nets.size() >= Nets::kMost) return FailWith(MAYFLY_E_TOO_LARGE, "too many nets");
      TRY(ReadPath(net->tap, "tap"));
      Nets nets = TRY(ReadNets(net, 1));
      config.nets.push_back(std::move(nets.configs.front()));
      return 0;
    });
  });
}

int mayfly_machine_set_vsock(mayfly_machine* machine, uint32_t guest_cid, const char* path) {
  return Enter<MachineObject>(machine,
                              [&](MachineObject& self) { return self.SetVsock(guest_cid, path); });
}

int mayfly_machine_set_rng(mayfly_machine* machine, int present) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.ConfigureKernel([&](MachineConfig& config) -> Status {
      config.rng = present != 0;
      return 0;
    });
  });
}

int mayfly_machine_set_balloon(mayfly_machine* machine, uint64_t bytes) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) { return self.SetBalloon(bytes); });
}

int mayfly_machine_boot(mayfly_machine* machine) {
  return Enter<MachineObject>(machine, [](MachineObject& self) { return self.Boot(); });
}

int mayfly_machine_pause(mayfly_machine* machine) {
  return Enter<MachineObject>(machine, [](MachineObject& self) { return self.Pause(); });
}

int mayfly_machine_resume(mayfly_machine* machine) {
  return Enter<MachineObject>(machine, [](MachineObject& self) { return self.Resume(); });
}

int mayfly_machine_snapshot(mayfly_machine* machine, const char* path) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) -> Status {
    return self.Snapshot(TRY(ReadPath(path, "path")));
  });
}

int mayfly_machine_stop(mayfly_machine* machine) {
  return Enter<MachineObject>(machine, [](MachineObject& self) {
    return self.Operate([](Machine& made) -> Status {
      made.Stop();
      return 0;
    });
  });
}

int mayfly_machine_set_link(mayfly_machine* machine, uint32_t index, int up) {
  return Enter<MachineObject>(machine, [&](MachineObject& self) {
    return self.Operate([&](Machine& made) -> Status {
      if (made.SetLink(index, up != 0)) return 0;
      return FailWith(MAYFLY_E_INVALID, "index: the machine has no such network device");
    });
  });
}

int mayfly_machine_wait(mayfly_machine* machine, int timeout_ms) {
  return Enter<MachineObject>(machine,
                              [&](const MachineObject& self) { return self.Wait(timeout_ms); });
}

int mayfly_machine_fd(mayfly_machine* machine) {
  return Enter<MachineObject>(machine, From::kAnywhere, [](const MachineObject& self) {
    return self.Observe([](const Machine& made) -> Status { return made.end_fd(); });
  });
}

int mayfly_machine_end(mayfly_machine* machine, struct mayfly_end* end) {
  return Enter<MachineObject>(machine, [&](const MachineObject& self) {
    return self.Observe([&](const Machine& made) { return WriteEnd(made.end(), end); });
  });
}

int mayfly_machine_metrics(mayfly_machine* machine, void* buffer, size_t* size) {
  return Enter<MachineObject>(machine, [&](const MachineObject& self) {
    return self.Observe(
        [&](const Machine& made) { return CopyOut(AsBytes(made.metrics().Json()), buffer, size); });
  });
}

int mayfly_machine_metrics_text(mayfly_machine* machine, void* buffer, size_t* size) {
  return Enter<MachineObject>(machine, [&](const MachineObject& self) {
    return self.Observe([&](const Machine& made) {
      return CopyOut(AsBytes(made.metrics().Prometheus()), buffer, size);
    });
  });
}

int mayfly_machine_close(mayfly_machine* machine) { return CloseHandle<MachineObject>(machine); }
