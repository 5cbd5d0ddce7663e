#include <ostream>

#include "tests/guest/guest_fixture.h"

namespace mayfly {
namespace {

constexpr size_t kMostEvent = size_t{6} * 1024 * 1024;

// Bytes that a text protocol would trip over, in no short period.
std::string EventOf(size_t size) {
  std::string event(size, '\0');
  uint32_t state = 1;
  for (char& byte : event) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return event;
}

class ExampleTest : public GuestFixture, public testing::WithParamInterface<const char*> {
 protected:
  static void ExpectEcho(size_t size) {
    const std::string event = EventOf(size);
    const ProgramResult result = RunExample(GetParam(), event, {"--timeout", "60s"});
    EXPECT_EQ(result.status, 0) << result.err;
    // Not EXPECT_EQ: it would print 6 MiB.
    EXPECT_TRUE(result.out == event) << result.out.size() << " bytes came back";
  }
};

TEST_P(ExampleTest, EchoesOneByte) { ExpectEcho(1); }
TEST_P(ExampleTest, EchoesOneKibibyte) { ExpectEcho(1024); }
TEST_P(ExampleTest, EchoesSixMebibytes) { ExpectEcho(kMostEvent); }

INSTANTIATE_TEST_SUITE_P(Examples, ExampleTest,
                         testing::Values("echo-c", "echo-cpp", "bootstrap-shell", "bootstrap-c"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

class FunctionTest : public GuestFixture {};

TEST_F(FunctionTest, EventAboveTheLimitIsRefused) {
  const ProgramResult result = RunExample("echo-c", EventOf(kMostEvent + 1));
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("6291456"), std::string::npos) << result.err;
}

TEST_F(FunctionTest, RepeatedInvocationsAllAnswer) {
  const ProgramResult result = RunExample("echo-c", "abc", {"--repeat", "5"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "abcabcabcabcabc");
}

TEST_F(FunctionTest, DebiansKernelRunsAFunction) {
  const ProgramResult result =
      Mayfly({"run", Image("echo-c"), "--kernel", DebianKernel(), "--event", "hello"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "hello");
}

TEST_F(FunctionTest, FourVcpusAndOneGibibyte) {
  const ProgramResult result =
      RunExample("bootstrap-c", "hello", {"--vcpus", "4", "--memory", "1G"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "hello");
}

// What goes wrong, what the error says, and the exit code of docs/exit-codes.md.
struct Fault {
  const char* mode;
  const char* error;
  int status;
  // Long enough for what has to happen before the deadline where everything is emulated.
  long timeout_seconds = 3;
};

void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.mode; }

class FaultyHandlerTest : public GuestFixture, public testing::WithParamInterface<Fault> {};

TEST_P(FaultyHandlerTest, GivesATypedErrorInTime) {
  const std::string timeout = std::to_string(GetParam().timeout_seconds) + "s";
  const ProgramResult result =
      RunExample("faulty", GetParam().mode, {"--timeout", timeout, "--json"});
  EXPECT_EQ(result.status, GetParam().status) << result.err;
  EXPECT_NE(result.err.find(GetParam().error), std::string::npos) << result.err;
  // Deadline and 100 ms on hardware, 2 s more where everything is emulated.
  const size_t total = result.out.find("\"total_us\":");
  ASSERT_NE(total, std::string::npos) << result.out;
  EXPECT_LE(std::stol(result.out.substr(total + 11)),
            GetParam().timeout_seconds * 1'000'000 + 2'100'000);
}

INSTANTIATE_TEST_SUITE_P(
    Faults, FaultyHandlerTest,
    testing::Values(Fault{"exit", "Runtime.ExitError", 1},
                    Fault{"segfault", "Runtime.ExitError", 1},
                    Fault{"abort", "Runtime.ExitError", 1}, Fault{"throw", "Runtime.ExitError", 1},
                    Fault{"loop", "Function.Timeout", 5}, Fault{"fork-bomb", "", 5},
                    Fault{"fill-memory", "Runtime.OutOfMemory", 1, 30},
                    Fault{"write-1g", "Runtime.OutputLimitExceeded", 1, 30},
                    Fault{"big-answer", "Function.ResponseSizeTooLarge", 1, 30}),
    [](const auto& test) {
      std::string name = test.param.mode;
      std::erase(name, '-');
      return name;
    });

}  // namespace
}  // namespace mayfly
