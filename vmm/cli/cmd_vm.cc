#include "vmm/cli/cmd_vm.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/App.hpp>
#include <array>

#include "base/file.h"
#include "base/json.h"
#include "vmm/cli/arguments.h"
#include "vmm/cli/cmd_invoke.h"
#include "vmm/cli/machine_config.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/override_options.h"
#include "vmm/function/kernel_bundle.h"

namespace mayfly {
namespace {

constexpr uint64_t kLeastSnapshotAfterMs = 1;
constexpr uint64_t kMostSnapshotAfterMs = 86'400'000;

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly vm --kernel vmlinux --initrd initrd.cpio --cmdline 'console=ttyS0'\n"
    "  mayfly vm --kernel vmlinux --disk root.img --disk data.img,ro --memory 1G --vcpus 2\n"
    "  mayfly vm --kernel vmlinux --disk base.img,overlay=clone1.layer\n"
    "  mayfly vm --config machine.json --vsock /tmp/vm.sock,cid=5\n"
    "  mayfly vm --kernel vmlinux --net tap=tap0,address=172.31.0.2/30,gateway=172.31.0.1\n"
    "  mayfly vm --kernel vmlinux --snapshot-to vm.snap   (then: kill -USR2 PID)\n"
    "  mayfly vm --restore vm.snap --memory uffd --disk base.img,overlay=clone2.layer\n";

// Takes ",NAME=VALUE" off the end of `text` and returns the value; nothing if it is not there.
std::optional<std::string> TakeOption(std::string& text, std::string_view name) {
  const size_t comma = text.rfind(',');
  if (comma == std::string::npos) return std::nullopt;
  const std::string_view option = std::string_view(text).substr(comma + 1);
  if (!option.starts_with(name) || !option.substr(name.size()).starts_with('=')) {
    return std::nullopt;
  }
  std::string value(option.substr(name.size() + 1));
  text.resize(comma);
  return value;
}

// "PATH" and behind it, in any order, ",cid=N" and ",allow=PORTS".
Result<VsockOptions> ParseVsock(const std::string& text) {
  VsockOptions vsock{.path = text};
  for (bool more = true; more;) {
    const auto cid = TakeOption(vsock.path, "cid");
    if (cid) {
      vsock.cid = static_cast<uint32_t>(TRY(WithContext(
          ParseCount(*cid, VsockOptions::kLeastCid, VsockOptions::kMostCid), "--vsock: cid")));
    }
    const auto allow = TakeOption(vsock.path, "allow");
    if (allow) vsock.allow = TRY(WithContext(ParsePortRanges(*allow), "--vsock: allow"));
    more = cid || allow;
  }
  TRY(WithContext(CheckSocketPath(vsock.path), "--vsock"));
  return vsock;
}

// "target=SIZE", "stats=INTERVAL" and "deflate-on-oom", separated by commas.
Result<BalloonOptions> ParseBalloon(std::string_view text) {
  BalloonOptions balloon;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    const std::string_view option = text.substr(start, end - start);
    start = end + 1;
    constexpr std::string_view kTarget = "target=";
    constexpr std::string_view kStats = "stats=";
    if (option.starts_with(kTarget)) {
      balloon.target_mib = TRY(
          WithContext(ParseMemoryMib(option.substr(kTarget.size()), 0, VmOptions::kMostMemoryMib),
                      "--balloon: target"));
    } else if (option.starts_with(kStats)) {
      balloon.stats_ms = TRY(
          WithContext(ParseDurationMs(option.substr(kStats.size()), BalloonOptions::kLeastStatsMs,
                                      BalloonOptions::kMostStatsMs),
                      "--balloon: stats"));
    } else if (option == "deflate-on-oom") {
      balloon.deflate_on_oom = true;
    } else {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("--balloon: \"{}\": expected target=SIZE, stats=INTERVAL or "
                              "deflate-on-oom",
                              Printable(option)));
    }
  }
  return balloon;
}

// What a machine that is restored can have others of.
Result<void> ApplyDevices(const VmArguments& arguments, VmOptions& options) {
  if (!arguments.disks.empty()) options.disks.clear();
  for (const std::string& disk : arguments.disks) {
    options.disks.push_back(TRY(WithContext(ParseDisk(disk), "--disk")));
  }
  if (!arguments.nets.empty()) options.nets = TRY(ParseNets(arguments.nets));
  if (!arguments.vsock.empty()) options.vsock = TRY(ParseVsock(arguments.vsock));
  options.metrics = arguments.metrics;
  return {};
}

Result<void> ApplyFlags(const VmArguments& arguments, VmOptions& options) {
  if (!arguments.kernel.empty()) options.kernel = arguments.kernel;
  if (!arguments.initrd.empty()) options.initrd = arguments.initrd;
  if (arguments.command_line) {
    TRY(WithContext(CheckCommandLine(*arguments.command_line), "--cmdline"));
    options.command_line = *arguments.command_line;
  }
  if (!arguments.memory.empty()) {
    options.memory_mib = TRY(WithContext(
        ParseMemoryMib(arguments.memory, VmOptions::kLeastMemoryMib, VmOptions::kMostMemoryMib),
        "--memory"));
  }
  if (!arguments.vcpus.empty()) {
    options.vcpus = static_cast<uint32_t>(
        TRY(WithContext(ParseCount(arguments.vcpus, 1, VmOptions::kMostVcpus), "--vcpus")));
  }
  if (!arguments.balloon.empty()) options.balloon = TRY(ParseBalloon(arguments.balloon));
  if (arguments.rng) options.rng = true;
  return ApplyDevices(arguments, options);
}

Result<VmRestoreOptions> ParseRestore(const VmArguments& arguments) {
  const std::array<std::pair<bool, const char*>, 7> for_booting{{
      {!arguments.config.empty(), "--config"},
      {!arguments.kernel.empty(), "--kernel"},
      {!arguments.initrd.empty(), "--initrd"},
      {arguments.command_line.has_value(), "--cmdline"},
      {!arguments.vcpus.empty(), "--vcpus"},
      {!arguments.balloon.empty(), "--balloon"},
      {arguments.rng, "--rng"},
  }};
  for (const auto& [given, name] : for_booting) {
    if (!given) continue;
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: not with --restore, the snapshot says it", name));
  }
  VmRestoreOptions restore{.directory = arguments.restore, .unverified = arguments.unverified};
  if (!arguments.memory.empty()) {
    restore.memory =
        TRY(WithContext(ParseFillMemory(arguments.memory), "--memory: with --restore"));
  }
  restore.overrides = TRY(ParseOverrideOption(arguments.overrides));
  return restore;
}

Result<std::optional<VmSnapshotOptions>> ParseSnapshot(const VmArguments& arguments) {
  if (arguments.snapshot_to.empty()) {
    if (arguments.snapshot_after.empty() && !arguments.snapshot_exit) return std::nullopt;
    return Fail(ErrorCode::kInvalidArgument,
                "--snapshot-after and --snapshot-exit need --snapshot-to");
  }
  VmSnapshotOptions snapshot{.directory = arguments.snapshot_to, .exit = arguments.snapshot_exit};
  struct stat status{};
  if (::lstat(snapshot.directory.c_str(), &status) == 0) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--snapshot-to: {}: exists already", Printable(snapshot.directory)));
  }
  if (!arguments.snapshot_after.empty()) {
    snapshot.after_ms = TRY(WithContext(
        ParseDurationMs(arguments.snapshot_after, kLeastSnapshotAfterMs, kMostSnapshotAfterMs),
        "--snapshot-after"));
  }
  return snapshot;
}

Result<void> CheckVsock(const VsockOptions& vsock) {
  struct stat status{};
  if (::lstat(vsock.path.c_str(), &status) == 0) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("vsock {}: exists already (remove it if no machine uses it)",
                            Printable(vsock.path)));
  }
  const size_t slash = vsock.path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : vsock.path.substr(0, slash + 1);
  if (::stat(directory.c_str(), &status) != 0) return FailErrno("vsock " + Printable(vsock.path));
  return {};
}

// The kernel configures one interface by its command line: the first.
Result<void> AddKernelAddress(VmOptions& options) {
  for (size_t i = 0; i < options.nets.size(); ++i) {
    const InterfaceAddress& address = options.nets[i].address;
    if (address.address.empty()) continue;
    if (i != 0) {
      return Fail(
          ErrorCode::kInvalidArgument,
          fmt::format("net {}: address: the kernel takes one for the first device only", i));
    }
    options.command_line += " " + KernelIpParameter(address, "eth0");
    TRY(CheckCommandLine(options.command_line));
  }
  return {};
}

void AddSnapshotOptions(CLI::App& command, VmArguments& arguments) {
  command
      .add_option("--snapshot-to", arguments.snapshot_to,
                  "Save the machine into this new directory on SIGUSR2, or where the guest rings "
                  "its doorbell; it then goes on")
      ->type_name("DIR");
  command
      .add_option("--snapshot-after", arguments.snapshot_after,
                  "Save it so long after its start, such as 500ms or 10s")
      ->type_name("TIME");
  command.add_flag("--snapshot-exit", arguments.snapshot_exit, "End the machine once it is saved");
  command
      .add_option("--restore", arguments.restore,
                  "Go on with a machine that was saved, instead of booting one")
      ->type_name("DIR");
  AddOverrideOption(command, arguments.overrides);
  command.add_flag("--unverified", arguments.unverified,
                   "Do not compare the memory with its digests (--restore)");
}

Result<VmOptions> PrepareRestore(const VmArguments& arguments) {
  VmOptions options;
  options.restore = TRY(ParseRestore(arguments));
  TRY(ApplyDevices(arguments, options));
  return options;
}

Result<VmOptions> PrepareBoot(const VmArguments& arguments) {
  VmOptions options;
  if (!arguments.config.empty()) options = TRY(ReadMachineConfig(arguments.config));
  TRY(ApplyFlags(arguments, options));
  if (arguments.unverified || !arguments.overrides.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "--unverified and --override need --restore");
  }

  if (options.kernel.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "no kernel: give --kernel, or \"kernel\" in the configuration file");
  }
  const KernelBundle bundle = TRY(ResolveKernel(options.kernel));
  options.kernel = bundle.kernel;
  if (options.initrd && ::access(options.initrd->c_str(), R_OK) != 0) {
    return FailErrno("initrd: " + Printable(*options.initrd));
  }
  TRY(CheckHostMemory(options.memory_mib));
  if (options.balloon && options.balloon->target_mib > options.memory_mib) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("balloon: {} MiB, the guest has {} MiB", options.balloon->target_mib,
                            options.memory_mib));
  }
  return options;
}

}  // namespace

void AddVmCommand(CLI::App& app, VmArguments& arguments) {
  CLI::App* command =
      app.add_subcommand("vm", "Boot a plain machine, with its serial console on this terminal");
  command->add_option("--config", arguments.config, "A configuration file; flags override it")
      ->type_name("FILE.json");
  command->add_option("--kernel", arguments.kernel, "ELF vmlinux, bzImage or a bundle directory")
      ->type_name("PATH");
  command->add_option("--initrd", arguments.initrd, "The initial RAM disk")->type_name("PATH");
  command->add_option("--cmdline", arguments.command_line, "The kernel's command line")
      ->type_name("TEXT");
  command
      ->add_option(
          "--memory", arguments.memory,
          "The guest's memory, such as 512M or 2G; with --restore how it is filled: mapped "
          "from the file (map, the default), by page faults (uffd), or at once (eager)")
      ->type_name("SIZE|map|uffd|eager");
  command->add_option("--vcpus", arguments.vcpus, "The guest's CPUs, 1 to 32")->type_name("N");
  // One value an option: without this, a path behind --disk would be taken for another disk.
  command->add_option("--disk", arguments.disks, "A raw disk image; may be given several times")
      ->type_name("PATH[,ro][,KEY=VALUE]")
      ->allow_extra_args(false);
  command->add_option("--net", arguments.nets, "A network device on a tap; several are possible")
      ->type_name("tap=NAME[,KEY=VALUE...]")
      ->allow_extra_args(false);
  command->add_option("--vsock", arguments.vsock, "A Unix socket to reach the guest's vsock by")
      ->type_name("PATH[,cid=N][,allow=PORTS]");
  command->add_option("--balloon", arguments.balloon, "Memory that the guest is to give up")
      ->type_name("target=SIZE[,stats=INTERVAL][,deflate-on-oom]");
  command->add_flag("--rng", arguments.rng, "Give the guest a source of entropy");
  command
      ->add_option("--metrics", arguments.metrics,
                   "Write metrics there at the end and on SIGUSR1 (JSON if it ends in .json)")
      ->type_name("FILE");
  AddSnapshotOptions(*command, arguments);
  AddJailOptions(*command, arguments.jail);
  command->footer(kExamples);
}

Result<VmOptions> PrepareVm(const VmArguments& arguments) {
  VmOptions options =
      TRY(arguments.restore.empty() ? PrepareBoot(arguments) : PrepareRestore(arguments));
  TRY(CheckDisks(options.disks));
  TRY(CheckNets(options.nets));
  if (!options.restore) TRY(AddKernelAddress(options));
  if (options.vsock) TRY(CheckVsock(*options.vsock));
  if (!options.metrics.empty()) TRY(MetricsFile::CheckPath(options.metrics));
  options.snapshot = TRY(ParseSnapshot(arguments));
  options.jail = TRY(PrepareJail(arguments.jail));
  return options;
}

}  // namespace mayfly
