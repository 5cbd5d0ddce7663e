#include "vmm/function/description.h"

#include <gtest/gtest.h>

#include "base/control_protocol.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

// The error of a mayfly.json that is right but for `members`.
std::string FaultOf(const std::string& members) {
  return MessageOf(ParseFunctionSource("{\"name\": \"f\"," + members + "}", "mayfly.json"));
}

std::string FaultOfNative(const std::string& members) {
  return FaultOf("\"kind\": \"native\"," + members);
}

TEST(DescriptionTest, SmallestSourceGetsTheDefaults) {
  const auto source = ParseFunctionSource(R"({"name": "f", "kind": "native"})", "mayfly.json");
  ASSERT_TRUE(source);
  EXPECT_EQ(source->description, (FunctionDescription{.name = "f", .handler = "handler.so"}));
  EXPECT_EQ(source->description.memory_mib, 128u);
  EXPECT_EQ(source->description.vcpus, 1u);
  EXPECT_EQ(source->description.timeout_ms, 3000u);
}

TEST(DescriptionTest, EveryFieldIsRead) {
  const auto source = ParseFunctionSource(
      R"({"name": "f-1", "kind": "bootstrap", "handler": "index.handler",
          "environment": {"A": "1", "B_2": ""}, "memory_mib": 256, "vcpus": 2, "timeout_ms": 900000,
          "include": ["/bin/sh"]})",
      "mayfly.json");
  ASSERT_TRUE(source) << source.error().message();
  EXPECT_EQ(source->description, (FunctionDescription{.name = "f-1",
                                                      .kind = HandlerKind::kBootstrap,
                                                      .handler = "index.handler",
                                                      .environment = {{"A", "1"}, {"B_2", ""}},
                                                      .memory_mib = 256,
                                                      .vcpus = 2,
                                                      .timeout_ms = 900000}));
  EXPECT_EQ(source->include, std::vector<std::string>{"/bin/sh"});
}

TEST(DescriptionTest, UnknownKeyIsRefused) {
  EXPECT_TRUE(Mentions(FaultOfNative("\"memory\": 1"), "mayfly.json: /memory: unknown key"));
}

TEST(DescriptionTest, WrongTypeNamesItsPath) {
  EXPECT_EQ(FaultOfNative("\"environment\": {\"FOO\": 3}"),
            "mayfly.json: /environment/FOO: expected a string, found a number");
  EXPECT_EQ(FaultOfNative("\"environment\": []"),
            "mayfly.json: /environment: expected an object, found an array");
}

TEST(DescriptionTest, KindIsOneOfTwo) {
  EXPECT_EQ(FaultOf("\"kind\": \"wasm\""),
            "mayfly.json: /kind: expected \"native\" or \"bootstrap\", found \"wasm\"");
  EXPECT_EQ(FaultOf("\"vcpus\": 1"), "mayfly.json: /kind: is missing");
}

TEST(DescriptionTest, NamesAreShortAndPlain) {
  const auto fault = [](const std::string& name) {
    return MessageOf(
        ParseFunctionSource("{\"name\": \"" + name + "\", \"kind\": \"native\"}", "mayfly.json"));
  };
  EXPECT_EQ(fault("a.b_c-9"), "no error");
  EXPECT_TRUE(Mentions(fault(""), "/name: expected"));
  EXPECT_TRUE(Mentions(fault("-a"), "/name: expected"));
  EXPECT_TRUE(Mentions(fault("../a"), "/name: expected"));
  EXPECT_TRUE(Mentions(fault("\xc3\xa9"), "/name: expected"));
  EXPECT_TRUE(Mentions(fault(std::string(65, 'a')), "/name: expected"));
}

TEST(DescriptionTest, NativeHandlerStaysWithinTheDirectory) {
  EXPECT_EQ(FaultOfNative("\"handler\": \"lib/h.so\""), "no error");
  EXPECT_TRUE(Mentions(FaultOfNative("\"handler\": \"../h.so\""), "/handler: expected a path"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"handler\": \"/h.so\""), "/handler: expected a path"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"handler\": \"a//b\""), "/handler: expected a path"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"handler\": \"\""), "/handler: expected 1 to 256"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"handler\": \"a\\nb\""), "/handler: expected 1 to 256"));
}

TEST(DescriptionTest, NumbersAreBounded) {
  EXPECT_TRUE(Mentions(FaultOfNative("\"memory_mib\": 63"), "/memory_mib: expected"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"memory_mib\": 65537"), "/memory_mib: expected"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"memory_mib\": 4294967360"), "/memory_mib: expected"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"vcpus\": 0"), "/vcpus: expected"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"vcpus\": 33"), "/vcpus: expected"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"timeout_ms\": 0"), "/timeout_ms: expected"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"timeout_ms\": 900001"), "/timeout_ms: expected"));
}

TEST(DescriptionTest, VariableNamesArePlainAndTheWholeIsBounded) {
  EXPECT_TRUE(Mentions(FaultOfNative("\"environment\": {\"1A\": \"\"}"), "/environment/1A: not a"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"environment\": {\"A=B\": \"\"}"), "not a variable's name"));
  EXPECT_TRUE(
      Mentions(FaultOfNative("\"environment\": {\"A\": \"" + std::string(4096, 'x') + "\"}"),
               "/environment: 4097 bytes of names and values, 4096 are the most allowed"));
}

TEST(DescriptionTest, IncludesAreAbsoluteAndNotOfTheKernel) {
  EXPECT_TRUE(
      Mentions(FaultOfNative("\"include\": [\"/a\", \"b\"]"), "/include/1: expected an abs"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"include\": [\"/a/../b\"]"), "/include/0: expected an abs"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"include\": [\"/\"]"), "/include/0: expected an abs"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"include\": [\"/proc/self/exe\"]"), "/include/0: nothing"));
  EXPECT_TRUE(Mentions(FaultOfNative("\"include\": [\"/" + std::string(4096, 'a') + "\"]"),
                       "/include/0: expected an abs"));
}

TEST(DescriptionTest, SerializedFormIsFixed) {
  const FunctionDescription description{.name = "f",
                                        .kind = HandlerKind::kBootstrap,
                                        .handler = "h",
                                        .environment = {{"B", "\"2\"\n"}, {"A", "1"}}};
  EXPECT_EQ(Serialize(description),
            R"({"name":"f","kind":"bootstrap","handler":"h","environment":{"A":"1","B":"\"2\"\n"},)"
            R"("memory_mib":128,"vcpus":1,"timeout_ms":3000})");
}

TEST(DescriptionTest, SerializedFormReadsBackAsItWas) {
  const FunctionDescription description{.name = "f",
                                        .handler = "a/\xc3\xa9.so",
                                        .environment = {{"A", "\t\\"}},
                                        .memory_mib = 65536,
                                        .vcpus = 32,
                                        .timeout_ms = 1};
  const auto read = ParseFunctionDescription(Serialize(description), "x");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, description);
}

TEST(DescriptionTest, LargestSerializedFormFitsIntoOneFrame) {
  // A control character takes six bytes in JSON.
  const FunctionDescription description{.name = std::string(64, 'n'),
                                        .handler = std::string(256, '"'),
                                        .environment = {{"A", std::string(4095, '\x01')}}};
  EXPECT_TRUE(ParseFunctionDescription(Serialize(description), "x"));
  EXPECT_LE(Serialize(description).size(), control::kMaxPayload);
}

TEST(DescriptionTest, PackedFormIsCorruptWhereASourceIsWrong) {
  EXPECT_EQ(CodeOf(ParseFunctionDescription("{}", "x")), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(ParseFunctionSource("{}", "x")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(ParseFunctionDescription(R"({"name":"f","kind":"native","include":[]})", "x")),
            ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace mayfly
