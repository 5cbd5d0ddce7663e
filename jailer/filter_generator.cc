// Compiles the filter table with libseccomp, at build time: loading a finished program costs a
// machine's start a tenth of what compiling it would. Prints what filter_programs.cc includes.
#include <fmt/format.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/file.h"
#include "base/unique_fd.h"
#include "jailer/filter_table.h"

namespace mayfly {
namespace {

constexpr int kMostNumber = 511;
// The first that a filter compares, because it is made most often.
constexpr uint8_t kFirst = 255;

Result<void> Did(int result, std::string_view what) {
  if (result < 0) return FailErrno(what, -result);
  return {};
}

Result<void> AddRule(scmp_filter_ctx context, const FilterRule& rule) {
  std::vector<scmp_arg_cmp> checks;
  for (const ArgumentCheck& check : rule.used_checks()) {
    checks.push_back({check.argument, SCMP_CMP_MASKED_EQ, check.mask, check.value});
  }
  return Did(::seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.number,
                                      static_cast<unsigned>(checks.size()), checks.data()),
             rule.name);
}

Result<std::vector<sock_filter>> Compile(ThreadKind kind) {
  scmp_filter_ctx const context = ::seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (context == nullptr) return Fail(ErrorCode::kHost, "seccomp_init");
  // int 0x80 and the x32 bit.
  TRY(Did(::seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "badarch"));
  for (const FilterRule& rule : FilterTable()) {
    if (rule.AppliesTo(kind)) TRY(AddRule(context, rule));
  }
  for (const int number : {SYS_ioctl, SYS_futex}) {
    TRY(Did(::seccomp_syscall_priority(context, number, kFirst), "priority"));
  }
  const UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!file.valid()) return FailErrno("memfd_create");
  TRY(Did(::seccomp_export_bpf(context, file.get()), "seccomp_export_bpf"));
  ::seccomp_release(context);
  const auto size = static_cast<size_t>(::lseek(file.get(), 0, SEEK_END));
  std::vector<sock_filter> program(size / sizeof(sock_filter));
  TRY(ReadExactAt(file.get(), {reinterpret_cast<uint8_t*>(program.data()), size}, 0, "filter"));
  return program;
}

Result<void> Generate() {
  for (const ThreadKind kind : kThreadKinds) {
    fmt::print("constexpr sock_filter k_{}[] = {{\n", NameOf(kind));
    for (const sock_filter& step : TRY(Compile(kind))) {
      fmt::print("    {{{:#x}, {}, {}, {:#x}}},\n", step.code, step.jt, step.jf, step.k);
    }
    fmt::print("}};\n");
  }
  fmt::print("constexpr std::string_view kNames[] = {{\n");
  for (int number = 0; number <= kMostNumber; ++number) {
    char* const name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
    fmt::print("    \"{}\",\n", name == nullptr ? "" : name);
    std::free(name);
  }
  fmt::print("}};\n");
  return {};
}

}  // namespace
}  // namespace mayfly

int main() {
  const mayfly::Result<void> generated = mayfly::Generate();
  if (generated) return 0;
  fmt::print(stderr, "filter-generator: {}\n", generated.error().message());
  return 1;
}
