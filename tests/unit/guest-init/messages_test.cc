#include "guest-init/messages.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/control_protocol.h"
#include "base/file.h"
#include "guest-init/base64.h"
#include "guest-init/command_line.h"
#include "guest-init/json.h"

namespace mayfly::init {
namespace {

Function NativeFunction() {
  Function function;
  function.name.assign(1, 'f');
  function.timeout_ms = 3000;
  return function;
}

bool Contains(const std::vector<std::string>& list, std::string_view item) {
  return std::ranges::find(list, item) != list.end();
}

TEST(ParseLoadTest, MembersAndDefaults) {
  const auto function = ParseLoad(AsBytes(
      R"({"name":"f","kind":"native","handler":"h.so","environment":{"A":"1"},"memory_mib":128})"));
  ASSERT_TRUE(function);
  EXPECT_EQ(function->handler, "h.so");
  EXPECT_EQ(function->environment.size(), 1U);
  EXPECT_EQ(function->timeout_ms, 3000U);
  EXPECT_EQ(function->init_timeout_ms, 10'000U);
  EXPECT_EQ(function->device, "/dev/vda");
}

TEST(ParseLoadTest, SnapshotIsForMachinesThatGetOne) {
  const auto usual = ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap"})"));
  const auto snapshot = ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap","snapshot":true})"));
  ASSERT_TRUE(usual && snapshot);
  EXPECT_FALSE(usual->snapshot);
  EXPECT_TRUE(Contains(HandlerEnvironment(*usual, 0), "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand"));
  EXPECT_TRUE(snapshot->snapshot);
  EXPECT_TRUE(
      Contains(HandlerEnvironment(*snapshot, 0), "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start"));
}

TEST(ParseRestoreTest, InterfacesAndNothingElse) {
  const auto none = ParseRestore(AsBytes(R"({"environment":7})"));
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  const auto one = ParseRestore(
      AsBytes(R"({"network":[{"interface":"eth0","address":"172.31.0.6","prefix":30}]})"));
  ASSERT_TRUE(one);
  ASSERT_EQ(one->size(), 1U);
  EXPECT_EQ((*one)[0].address, "172.31.0.6");
  EXPECT_FALSE(ParseRestore(AsBytes(R"({"network":[{}]})")));
}

TEST(ParseLoadTest, InterfacesOfTheNetwork) {
  const auto function = ParseLoad(AsBytes(
      R"({"name":"f","kind":"bootstrap","network":[{"interface":"eth0","address":"172.31.0.2",
          "prefix":30,"gateway":"172.31.0.1","dns":["1.1.1.1",7]}]})"));
  ASSERT_TRUE(function);
  ASSERT_EQ(function->network.size(), 1U);
  EXPECT_EQ(function->network[0].name, "eth0");
  EXPECT_EQ(function->network[0].address, "172.31.0.2");
  EXPECT_EQ(function->network[0].prefix, 30U);
  EXPECT_EQ(function->network[0].gateway, "172.31.0.1");
  EXPECT_EQ(function->network[0].dns, std::vector<std::string>{"1.1.1.1"});
}

TEST(ParseLoadTest, RefusesInterfacesThatAreNone) {
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap","network":{}})")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap","network":[1]})")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap","network":[{}]})")));
}

TEST(ParseLoadTest, RefusesWhatCannotBeStarted) {
  EXPECT_FALSE(ParseLoad(AsBytes("")));
  EXPECT_FALSE(ParseLoad(AsBytes("[]")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"kind":"native","handler":"h"})")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"java","handler":"h"})")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"native"})")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap","environment":{"A=B":"1"}})")));
  EXPECT_FALSE(ParseLoad(AsBytes(R"({"name":"f","kind":"bootstrap","environment":{"A":1}})")));
}

TEST(ParseLoadTest, DeepNestingIsNotFollowedByRecursion) {
  const std::string deep(JsonObject::kMaxText, '[');
  EXPECT_FALSE(ParseLoad(AsBytes(deep)));
}

TEST(ParseInvokeTest, TakesTheFunctionsTimeoutIfNoneIsGiven) {
  const auto request =
      ParseInvoke(NativeFunction(), 7, AsBytes(R"({"request_id":"a-1","size":5})"));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->invocation.id, 7U);
  EXPECT_EQ(request->invocation.timeout_ms, 3000U);
  EXPECT_EQ(request->event_size, 5U);
  EXPECT_GT(request->invocation.deadline_ms, 3000U);
}

TEST(ParseInvokeTest, RefusesHeaderInjectionAndTooLongEvents) {
  const Function function = NativeFunction();
  EXPECT_FALSE(ParseInvoke(function, 1, AsBytes(R"({"request_id":"a/b","size":5})")));
  EXPECT_FALSE(
      ParseInvoke(function, 1, AsBytes(R"({"request_id":"a","trace_id":"x\r\nSet: y","size":5})")));
  EXPECT_FALSE(ParseInvoke(function, 1, AsBytes(R"({"request_id":"a"})")));
  EXPECT_FALSE(ParseInvoke(function, 1, AsBytes(R"({"request_id":"a","size":6291457})")));
}

TEST(ErrorJsonTest, HoldsTypeMessageAndTrace) {
  HandlerError error{"T", "m\xff"};
  error.stack_trace = "[\"a\"]";
  EXPECT_EQ(ErrorJson(error, {1, 2, 3}),
            "{\"errorType\":\"T\",\"errorMessage\":\"m\xef\xbf\xbd\","
            "\"stackTrace\":[\"a\"],"
            "\"reusable\":false,\"document_bytes\":0,\"duration_us\":1,\"max_"
            "memory_bytes\":2,"
            "\"log_dropped_bytes\":3}");
}

TEST(ErrorJsonTest, AlwaysFitsIntoAFrame) {
  HandlerError error{std::string(65536, '\x01'), std::string(65536, '\x02')};
  error.stack_trace.assign(32768, 'x');
  EXPECT_LE(ErrorJson(error, {}).size(), control::kMaxPayload);
}

TEST(ErrorJsonTest, LongStackTraceIsLeftOut) {
  HandlerError error{"T", "m"};
  error.stack_trace.assign(60'000, 'x');
  EXPECT_EQ(ErrorJson(error, {}).find("stackTrace"), std::string::npos);
}

TEST(HandlerEnvironmentTest, FunctionsCannotChangeWhatIsReserved) {
  Function function = NativeFunction();
  function.handler = "app.run";
  function.environment = {{"PATH", "/mine"}, {"_HANDLER", "no"}, {"MINE", "1"}, {"TZ", "CET"}};
  const std::vector<std::string> environment = HandlerEnvironment(function, 9001);
  EXPECT_TRUE(Contains(environment, "PATH=/mine"));
  EXPECT_TRUE(Contains(environment, "MINE=1"));
  EXPECT_TRUE(Contains(environment, "_HANDLER=app.run"));
  EXPECT_TRUE(Contains(environment, "TZ=:UTC"));
  EXPECT_TRUE(Contains(environment, "LAMBDA_TASK_ROOT=/var/task"));
  EXPECT_TRUE(Contains(environment, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001"));
}

TEST(ValidUtf8Test, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(ValidUtf8("a\xc3\xa4z"), "a\xc3\xa4z");
  EXPECT_EQ(ValidUtf8("\xc3"), "\xef\xbf\xbd");
  EXPECT_EQ(ValidUtf8("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(ValidUtf8("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(ValidUtf8("ab\xc3\xa4", 3), "ab");
}

TEST(DecodeBase64Test, TakesBothPaddings) {
  EXPECT_EQ(AsText(DecodeBase64("aGVsbG8=")), "hello");
  EXPECT_EQ(AsText(DecodeBase64("aGVsbG8")), "hello");
  EXPECT_TRUE(DecodeBase64("a b").empty());
  EXPECT_TRUE(DecodeBase64("").empty());
}

TEST(ParseCommandLineTest, FindsItsWordsAmongTheKernels) {
  const CommandLine options =
      ParseCommandLine("quiet mayfly.console=1 mayfly.control=/dev/ttyS1\n");
  EXPECT_TRUE(options.console);
  EXPECT_EQ(options.control_device, "/dev/ttyS1");
  EXPECT_FALSE(ParseCommandLine("xmayfly.console=1").console);
}

}  // namespace
}  // namespace mayfly::init
