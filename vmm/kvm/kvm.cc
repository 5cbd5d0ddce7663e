#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>

#include "base/file.h"

namespace mayfly {
namespace {

struct Requirement {
  unsigned long capability;
  std::string_view name;
};

constexpr std::array kRequired{
    Requirement{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    Requirement{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    Requirement{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    Requirement{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
    Requirement{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    Requirement{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    Requirement{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

}  // namespace

Result<UniqueFd> Kvm::OpenDevice(const std::string& path) {
  auto opened = OpenFile(path, O_RDWR);
  if (!opened) {
    Error error = std::move(opened).error();
    const ErrorCode code = ErrorCode::kHost;
    switch (error.errno_value()) {
      case ENOENT:
        return Fail(code, error.message() +
                              " (is the kvm module loaded, and virtualisation "
                              "switched on in the firmware?)");
      case EACCES:
        return Fail(code, error.message() + " (join the group kvm, or run as root)");
      default:
        return std::unexpected(std::move(error));
    }
  }
  return opened;
}

Result<Kvm> Kvm::Open(const std::string& path) { return Create(TRY(OpenDevice(path)), path); }

Result<Kvm> Kvm::Create(UniqueFd device, const std::string& path) {
  const int version = ::ioctl(device.get(), KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    return Fail(ErrorCode::kUnsupported, fmt::format("{}: not a KVM device, or API version {} "
                                                     "where {} is needed",
                                                     path, version, KVM_API_VERSION));
  }
  const int run_size = ::ioctl(device.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < static_cast<int>(sizeof(kvm_run))) return FailErrno("KVM_GET_VCPU_MMAP_SIZE");

  Kvm kvm(std::move(device), static_cast<size_t>(run_size));
  for (const Requirement& requirement : kRequired) {
    if (kvm.Check(requirement.capability) == 0) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("{}: this host's KVM lacks {}", path, requirement.name));
    }
  }
  return kvm;
}

int Kvm::Check(unsigned long capability) const {
  const int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

Result<std::unique_ptr<abi::CpuidList>> Kvm::SupportedCpuid() const {
  auto list = std::make_unique<abi::CpuidList>();
  list->count = abi::CpuidList::kSize;
  if (::ioctl(fd_.get(), abi::kGetSupportedCpuid, list.get()) != 0) {
    return FailErrno("KVM_GET_SUPPORTED_CPUID");
  }
  return list;
}

Result<std::vector<uint32_t>> Kvm::MsrIndices() const {
  auto list = std::make_unique<abi::MsrIndexList>();
  list->count = abi::MsrIndexList::kSize;
  if (::ioctl(fd_.get(), abi::kGetMsrIndexList, list.get()) != 0) {
    return FailErrno("KVM_GET_MSR_INDEX_LIST");
  }
  return std::vector<uint32_t>(list->indices, list->indices + list->count);
}

Result<Vm> Kvm::CreateVm() const {
  int fd = -1;
  do {
    fd = ::ioctl(fd_.get(), KVM_CREATE_VM, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return FailErrno("KVM_CREATE_VM");
  return Vm(UniqueFd(fd), run_size_);
}

}  // namespace mayfly
