#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/kvm/kvm_abi.h"
#include "vmm/kvm/vm.h"

namespace mayfly {

// /dev/kvm: what the host can do, and the way to virtual machines. Any thread.
class Kvm {
 public:
  // Opens the device and refuses a host that lacks what mayfly is built on, naming the capability.
  static Result<Kvm> Open(const std::string& path = "/dev/kvm");
  // The device alone, to be handed to somebody who may not open it; and what Open() makes of it.
  static Result<UniqueFd> OpenDevice(const std::string& path = "/dev/kvm");
  static Result<Kvm> Create(UniqueFd device, const std::string& path = "/dev/kvm");

  // KVM_CHECK_EXTENSION: 0 if absent.
  [[nodiscard]] int Check(unsigned long capability) const;
  // KVM_GET_SUPPORTED_CPUID.
  [[nodiscard]] Result<std::unique_ptr<abi::CpuidList>> SupportedCpuid() const;
  // KVM_GET_MSR_INDEX_LIST: the MSRs that make up a vCPU's state on this host.
  [[nodiscard]] Result<std::vector<uint32_t>> MsrIndices() const;
  [[nodiscard]] Result<Vm> CreateVm() const;

 private:
  Kvm(UniqueFd fd, size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  UniqueFd fd_;
  size_t run_size_;
};

}  // namespace mayfly
