#pragma once

#include <concepts>
#include <type_traits>

#include "vmm/kvm/kvm_abi.h"

// What the snapshot format knows to write and read: integers and bools in little-endian order,
// strings and vectors behind a 32-bit count, arrays, structures that list their fields in Visit(),
// and KVM's own structures as the kernel has them (Linux, Documentation/virt/kvm/api.rst).
namespace mayfly::encoding {

template <class T>
inline constexpr bool kOpaque = false;
template <>
inline constexpr bool kOpaque<kvm_cpuid_entry2> = true;
template <>
inline constexpr bool kOpaque<kvm_regs> = true;
template <>
inline constexpr bool kOpaque<kvm_sregs> = true;
template <>
inline constexpr bool kOpaque<kvm_xcrs> = true;
template <>
inline constexpr bool kOpaque<kvm_debugregs> = true;
template <>
inline constexpr bool kOpaque<kvm_lapic_state> = true;
template <>
inline constexpr bool kOpaque<kvm_msr_entry> = true;
template <>
inline constexpr bool kOpaque<kvm_vcpu_events> = true;
template <>
inline constexpr bool kOpaque<abi::Xsave> = true;

template <class T>
concept Opaque = kOpaque<T>;

struct AnyVisitor {
  template <class... Arguments>
  void operator()(Arguments&&...) const {}
};

template <class T>
concept Visitable = requires { T::Visit(AnyVisitor{}); };

template <class T>
concept Integer = std::is_integral_v<T> && !std::same_as<T, bool>;

}  // namespace mayfly::encoding
