#include "jailer/seccomp.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "jailer/filter_table.h"

namespace mayfly {
namespace {

using Arguments = std::array<uint64_t, 6>;

constexpr int kNumbers = 512;
constexpr long kX32Bit = 0x40000000;

// Numbers that the kernel lets past every filter: uretprobe and uprobe.
bool PassesEveryFilter(long number) { return number == 335 || number == 336; }

bool IsAllowed(ThreadKind kind, long number, const Arguments& arguments) {
  return std::ranges::any_of(FilterTable(), [&](const FilterRule& rule) {
    return rule.AppliesTo(kind) && rule.number == number &&
           std::ranges::all_of(rule.used_checks(), [&](const ArgumentCheck& check) {
             return (arguments[check.argument] & check.mask) == check.value;
           });
  });
}

bool IsNamed(ThreadKind kind, long number) {
  return std::ranges::any_of(FilterTable(), [&](const FilterRule& rule) {
    return rule.AppliesTo(kind) && rule.number == number;
  });
}

long Call(long number, const Arguments& arguments) {
  return ::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                   arguments[5]);
}

long CallOf32Bits(long number) {
  long result = 0;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
               : "memory");
  return result;
}

// Whether a process that is filtered as `kind` ends of `call` as it should.
template <class Function>
bool Dies(ThreadKind kind, Function call) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!ApplyFilter(kind)) ::_exit(1);
    call();
    // Whatever is not filtered comes here, and ends in another way.
    __builtin_trap();
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return false;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

class SeccompTest : public testing::TestWithParam<ThreadKind> {};

TEST_P(SeccompTest, EveryNumberThatIsNotInTheTableIsDeadly) {
  for (long number = 0; number < kNumbers; ++number) {
    if (IsNamed(GetParam(), number) || PassesEveryFilter(number)) continue;
    EXPECT_TRUE(Dies(GetParam(), [&] { Call(number, {}); })) << number;
  }
}

TEST_P(SeccompTest, EveryNumberOfX32IsDeadly) {
  for (long number = 0; number < kNumbers; ++number) {
    EXPECT_TRUE(Dies(GetParam(), [&] { Call(number | kX32Bit, {}); })) << number;
  }
}

TEST_P(SeccompTest, EveryNumberOf32BitsIsDeadly) {
  for (long number = 0; number < kNumbers; ++number) {
    EXPECT_TRUE(Dies(GetParam(), [&] { CallOf32Bits(number); })) << number;
  }
}

// Each bit of each argument that a rule looks at, turned over.
TEST_P(SeccompTest, AnAllowedCallWithAnotherArgumentIsDeadly) {
  size_t tried = 0;
  for (const FilterRule& rule : FilterTable()) {
    if (!rule.AppliesTo(GetParam())) continue;
    for (const ArgumentCheck& check : rule.used_checks()) {
      for (unsigned bit = 0; bit < 64; ++bit) {
        Arguments arguments{~0ULL};
        for (const ArgumentCheck& other : rule.used_checks()) {
          arguments[other.argument] = other.value;
        }
        arguments[check.argument] ^= uint64_t{1} << bit;
        if (IsAllowed(GetParam(), rule.number, arguments)) continue;
        ++tried;
        EXPECT_TRUE(Dies(GetParam(), [&] { Call(rule.number, arguments); }))
            << rule.name << " argument " << check.argument << " bit " << bit;
      }
    }
  }
  EXPECT_GE(tried, 60U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SeccompTest, testing::ValuesIn(kThreadKinds),
                         [](const auto& test) { return std::string(NameOf(test.param)); });

}  // namespace
}  // namespace mayfly
