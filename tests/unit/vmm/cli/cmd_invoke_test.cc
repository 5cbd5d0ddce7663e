#include "vmm/cli/cmd_invoke.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

InvokeArguments GoodArguments() {
  InvokeArguments arguments;
  arguments.directory = "f.snap";
  return arguments;
}

TEST(PrepareInvokeTest, DefaultsMapAndCheckTheMemory) {
  const auto options = PrepareInvoke(GoodArguments());
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->directory, "f.snap");
  EXPECT_EQ(std::string(options->invoke.event.begin(), options->invoke.event.end()), "{}");
  EXPECT_EQ(options->invoke.repeat, 1u);
  EXPECT_EQ(options->memory, FillMemory::kMap);
  EXPECT_TRUE(options->use_working_set);
  EXPECT_FALSE(options->unverified);
  EXPECT_FALSE(options->record);
  EXPECT_FALSE(options->timeout_ms);
  EXPECT_EQ(options->image, "");
}

TEST(PrepareInvokeTest, ValuesAreRead) {
  InvokeArguments arguments = GoodArguments();
  arguments.event = "[1]";
  arguments.repeat = "1000000";
  arguments.memory = "eager";
  arguments.timeout = "500ms";
  arguments.image = "moved.mfn";
  arguments.nets = {"tap=tap0"};
  arguments.unverified = true;
  arguments.no_working_set = true;
  const auto options = PrepareInvoke(arguments);
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->invoke.event, (std::vector<uint8_t>{'[', '1', ']'}));
  EXPECT_EQ(options->invoke.repeat, 1'000'000u);
  EXPECT_EQ(options->memory, FillMemory::kEager);
  EXPECT_EQ(options->timeout_ms, 500u);
  EXPECT_EQ(options->image, "moved.mfn");
  EXPECT_EQ(options->nets.size(), 1u);
  EXPECT_TRUE(options->unverified);
  EXPECT_FALSE(options->use_working_set);
}

TEST(PrepareInvokeTest, WrongValuesNameTheirOption) {
  const auto message = [](std::string InvokeArguments::* option, const std::string& value) {
    InvokeArguments arguments = GoodArguments();
    arguments.*option = value;
    return MessageOf(PrepareInvoke(arguments));
  };
  EXPECT_TRUE(Mentions(message(&InvokeArguments::memory, "mapped"),
                       "--memory: mapped: map, uffd and eager are possible"));
  EXPECT_TRUE(Mentions(message(&InvokeArguments::repeat, "0"), "--repeat: \"0\": expected"));
  EXPECT_TRUE(Mentions(message(&InvokeArguments::repeat, "1000001"), "--repeat"));
  EXPECT_TRUE(Mentions(message(&InvokeArguments::timeout, "16m"), "--timeout: \"16m\": expected"));
  EXPECT_TRUE(Mentions(message(&InvokeArguments::event, "@/nowhere/event"), "event: open"));
}

TEST(PrepareInvokeTest, OneTapTwiceIsRefused) {
  InvokeArguments arguments = GoodArguments();
  arguments.nets = {"tap=tap0", "tap=tap0"};
  EXPECT_EQ(CodeOf(PrepareInvoke(arguments)), ErrorCode::kInvalidArgument);
}

// What a working set fills ahead is never asked for, so it would not be recorded.
TEST(PrepareInvokeTest, RecordingIsWithoutAWorkingSet) {
  InvokeArguments arguments = GoodArguments();
  arguments.memory = "uffd";
  arguments.record = true;
  const auto options = PrepareInvoke(arguments);
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_TRUE(options->record);
  EXPECT_FALSE(options->use_working_set);
}

TEST(PrepareInvokeTest, RecordingNeedsAPager) {
  InvokeArguments arguments = GoodArguments();
  arguments.record = true;
  EXPECT_EQ(MessageOf(PrepareInvoke(arguments)), "--record: needs --memory uffd");
}

TEST(ParseFillMemoryTest, EveryWayHasAName) {
  EXPECT_EQ(*ParseFillMemory("map"), FillMemory::kMap);
  EXPECT_EQ(*ParseFillMemory("uffd"), FillMemory::kUffd);
  EXPECT_EQ(*ParseFillMemory("eager"), FillMemory::kEager);
  EXPECT_EQ(CodeOf(ParseFillMemory("")), ErrorCode::kInvalidArgument);
}

TEST(PrepareInvokeTest, OverridesAreThoseOfAFunction) {
  InvokeArguments arguments = GoodArguments();
  arguments.overrides = {"net0.mac=02:00:00:00:00:07"};
  EXPECT_EQ(PrepareInvoke(arguments)->overrides.macs.at(0), (MacAddress{2, 0, 0, 0, 0, 7}));
  arguments.overrides = {"vsock.cid=5"};
  EXPECT_TRUE(Mentions(MessageOf(PrepareInvoke(arguments)), "vsock.cid: not for a function"));
}

}  // namespace
}  // namespace mayfly
