#include "vmm/memory/guarded_access.h"

#include <ucontext.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAYFLY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MAYFLY_SANITIZED 1
#endif
#endif

// Between mayfly_guarded_begin and mayfly_guarded_end nothing is pushed, so that returning 0 from
// any instruction is a matter of going on at mayfly_guarded_failed. Loads and stores are single
// instructions, which x86 orders as acquire and release.
asm(R"(
    .pushsection .text
    .p2align 4
mayfly_guarded_begin:
mayfly_guarded_copy:                # rdi: to, rsi: from, rdx: length
    cmpq $16, %rdx
    jb 2f
    leaq -16(%rdx), %rcx            # All but the last 16 bytes, then these: they may overlap.
    xorl %eax, %eax
    cmpq $64, %rcx
    jb 5f
    subq $64, %rcx                  # 64 at a time, all loaded before any is stored.
1:  movdqu (%rsi,%rax), %xmm0
    movdqu 16(%rsi,%rax), %xmm1
    movdqu 32(%rsi,%rax), %xmm2
    movdqu 48(%rsi,%rax), %xmm3
    movdqu %xmm0, (%rdi,%rax)
    movdqu %xmm1, 16(%rdi,%rax)
    movdqu %xmm2, 32(%rdi,%rax)
    movdqu %xmm3, 48(%rdi,%rax)
    addq $64, %rax
    cmpq %rcx, %rax
    jbe 1b
    addq $64, %rcx
5:  cmpq %rcx, %rax
    jae 3f
    movdqu (%rsi,%rax), %xmm0
    movdqu %xmm0, (%rdi,%rax)
    addq $16, %rax
    jmp 5b
3:  movdqu (%rsi,%rcx), %xmm0
    movdqu %xmm0, (%rdi,%rcx)
    jmp 9f
2:  cmpq $8, %rdx
    jb 4f
    movq (%rsi), %rax
    movq -8(%rsi,%rdx), %rcx
    movq %rax, (%rdi)
    movq %rcx, -8(%rdi,%rdx)
    jmp 9f
4:  movq %rdx, %rcx
    rep movsb
9:  movl $1, %eax
    ret
mayfly_guarded_fill:                # rdi: to, esi: value, rdx: length
    movl %esi, %eax
    movq %rdx, %rcx
    rep stosb
    movl $1, %eax
    ret
mayfly_guarded_load16:              # rdi: from, rsi: out
    movzwl (%rdi), %eax
    movw %ax, (%rsi)
    movl $1, %eax
    ret
mayfly_guarded_store16:             # rdi: to, esi: value
    movw %si, (%rdi)
    movl $1, %eax
    ret
mayfly_guarded_end:
mayfly_guarded_failed:
    xorl %eax, %eax
    ret
    .popsection
)");

extern "C" {
extern const char mayfly_guarded_begin[];
extern const char mayfly_guarded_end[];
extern const char mayfly_guarded_failed[];
bool mayfly_guarded_copy(void* to, const void* from, size_t length);
bool mayfly_guarded_fill(void* to, uint8_t value, size_t length);
bool mayfly_guarded_load16(const uint16_t* from, uint16_t* out);
bool mayfly_guarded_store16(uint16_t* to, uint16_t value);
}

namespace mayfly {
namespace {

constexpr std::array<int, 2> kSignals{SIGSEGV, SIGBUS};

struct sigaction ActionOf(int signal) {
  struct sigaction action{};
  ::sigaction(signal, nullptr, &action);
  return action;
}

// Who had the signals before; asked for the first time before the handler is there.
const struct sigaction& PreviousAction(int signal) {
  static const std::array<struct sigaction, 2> previous{ActionOf(kSignals[0]),
                                                        ActionOf(kSignals[1])};
  return previous[signal == kSignals[0] ? 0 : 1];
}

void HandleFault(int signal, siginfo_t* info, void* context) {
  greg_t& instruction = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  if (instruction >= reinterpret_cast<greg_t>(mayfly_guarded_begin) &&
      instruction < reinterpret_cast<greg_t>(mayfly_guarded_end)) {
    instruction = reinterpret_cast<greg_t>(mayfly_guarded_failed);
    return;
  }
  const struct sigaction& previous = PreviousAction(signal);
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
    // The instruction faults again, and the process ends as it would have.
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  } else {
    previous.sa_handler(signal);
  }
}

bool Install() {
  struct sigaction action{};
  action.sa_sigaction = HandleFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : kSignals) {
    (void)PreviousAction(signal);
    ::sigaction(signal, &action, nullptr);
  }
  return true;
}

}  // namespace

void InstallGuardedAccess() { [[maybe_unused]] static const bool installed = Install(); }

#ifdef MAYFLY_SANITIZED

// Sanitizers do not see what assembly code accesses. So it only finds out whether the pages are
// there, and then code that they see accesses them.
namespace {

bool IsThere(const void* start, size_t length) {
  constexpr size_t kPage = 4096;
  uint8_t byte = 0;
  const auto* const bytes = static_cast<const uint8_t*>(start);
  for (size_t at = 0; at < length; at += kPage) {
    if (!mayfly_guarded_copy(&byte, bytes + at, 1)) return false;
  }
  return length == 0 || mayfly_guarded_copy(&byte, bytes + length - 1, 1);
}

}  // namespace

bool GuardedCopy(void* to, const void* from, size_t length) {
  if (!IsThere(to, length) || !IsThere(from, length)) return false;
  if (length > 0) std::memcpy(to, from, length);  // Nothing may be at null.
  return true;
}

bool GuardedFill(void* to, uint8_t value, size_t length) {
  if (!IsThere(to, length)) return false;
  if (length > 0) std::memset(to, value, length);
  return true;
}

bool GuardedLoad16(const uint16_t* from, uint16_t* out) {
  if (!IsThere(from, sizeof(*from))) return false;
  *out = std::atomic_ref<uint16_t>(*const_cast<uint16_t*>(from)).load(std::memory_order_acquire);
  return true;
}

bool GuardedStore16(uint16_t* to, uint16_t value) {
  if (!IsThere(to, sizeof(*to))) return false;
  std::atomic_ref<uint16_t>(*to).store(value, std::memory_order_release);
  return true;
}

#else

bool GuardedCopy(void* to, const void* from, size_t length) {
  return mayfly_guarded_copy(to, from, length);
}

bool GuardedFill(void* to, uint8_t value, size_t length) {
  return mayfly_guarded_fill(to, value, length);
}

bool GuardedLoad16(const uint16_t* from, uint16_t* out) { return mayfly_guarded_load16(from, out); }

bool GuardedStore16(uint16_t* to, uint16_t value) { return mayfly_guarded_store16(to, value); }

#endif

}  // namespace mayfly
