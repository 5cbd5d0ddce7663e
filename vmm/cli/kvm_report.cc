#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>

#include "base/file.h"
#include "vmm/cli/host_report.h"

namespace mayfly {
namespace {

struct Capability {
  unsigned long number;
  const char* name;
  const char* use;
  bool required;
};

constexpr std::array kCapabilities{
    Capability{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory", true},
    Capability{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "CPU features", true},
    Capability{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "several CPUs", true},
    Capability{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", "interrupts", true},
    Capability{KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "device interrupts", true},
    Capability{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "device interrupts", true},
    Capability{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "stopping a machine", true},
    Capability{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "queue kicks without an exit", false},
    Capability{KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER", "guest timers", false},
    Capability{KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", "read-only memory", false},
    Capability{KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", "the guest's clock", false},
    Capability{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "snapshots", false},
    Capability{KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "snapshots", false},
    Capability{KVM_CAP_XCRS, "KVM_CAP_XCRS", "snapshots", false},
    Capability{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "snapshots", false},
    Capability{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS", "fewer system calls", false},
};

bool ModuleIsLoaded(const std::string& root, const char* name) {
  return ::access((root + "/sys/module/" + name).c_str(), F_OK) == 0;
}

// Which implementation stands behind the device decides whether a stock kernel boots.
void InspectFlavour(const std::string& root, HostReport& report) {
  HostCheck check{.name = "kvm flavour"};
  if (ModuleIsLoaded(root, "kvm_pvm")) {
    check.status = CheckStatus::kWarning;
    check.found = "kvm_pvm, software";
    check.advice = "stock Linux guests do not boot on it: run them with scripts/lab";
  } else if (ModuleIsLoaded(root, "kvm_intel") || ModuleIsLoaded(root, "kvm_amd")) {
    check.found = ModuleIsLoaded(root, "kvm_intel") ? "kvm_intel" : "kvm_amd";
    report.linux_guests = true;
  } else {
    check.status = CheckStatus::kWarning;
    check.found = "unknown";
    check.advice = "neither kvm_intel nor kvm_amd is loaded: Linux guests may not boot";
  }
  report.checks.push_back(std::move(check));
}

void InspectCapabilities(int kvm, HostReport& report) {
  for (const Capability& capability : kCapabilities) {
    HostCheck check{.name = capability.name, .found = capability.use};
    if (::ioctl(kvm, KVM_CHECK_EXTENSION, capability.number) <= 0) {
      check.status = capability.required ? CheckStatus::kMissing : CheckStatus::kWarning;
      check.advice = "a newer host kernel has it";
      check.required = capability.required;
    }
    report.checks.push_back(std::move(check));
  }
  const int vcpus = ::ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
  report.checks.push_back({.name = "kvm cpus", .found = fmt::format("{} a machine", vcpus)});
}

}  // namespace

void InspectKvm(const std::string& root, HostReport& report) {
  const std::string path = root + "/dev/kvm";
  const auto kvm = OpenFile(path, O_RDWR);
  HostCheck device{.name = "kvm device", .found = path, .required = true};
  if (!kvm) {
    device.status = CheckStatus::kMissing;
    device.found = kvm.error().message();
    device.advice = kvm.error().errno_value() == EACCES
                        ? "join the group kvm and log in again, or run as root"
                        : "load kvm_intel or kvm_amd; switch virtualisation on in the firmware";
  }
  report.checks.push_back(device);
  if (!kvm) return;

  const int version = ::ioctl(kvm->get(), KVM_GET_API_VERSION, 0);
  HostCheck api{.name = "kvm api", .found = fmt::format("version {}", version), .required = true};
  if (version != KVM_API_VERSION) {
    api.status = CheckStatus::kMissing;
    api.found = version < 0 ? "not a KVM device" : api.found;
    api.advice = fmt::format("version {} is needed", KVM_API_VERSION);
  }
  report.checks.push_back(api);
  if (version != KVM_API_VERSION) return;
  InspectFlavour(root, report);
  InspectCapabilities(kvm->get(), report);
}

}  // namespace mayfly
