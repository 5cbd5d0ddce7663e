#include "vmm/cli/cmd_run.h"

#include <gtest/gtest.h>

#include "base/control_protocol.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

// Arguments with which a run can be prepared.
RunArguments GoodArguments(const Scratch& scratch) {
  scratch.Write("guest/init", "");
  scratch.Write("guest/handler", "");
  RunArguments arguments;
  arguments.image = "f.mfn";
  arguments.kernel = scratch.Write("vmlinux", "");
  arguments.guest_directory = scratch / "guest";
  return arguments;
}

std::string TextOf(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

TEST(PrepareRunTest, DefaultsComeFromTheImage) {
  const Scratch scratch;
  const auto options = PrepareRun(GoodArguments(scratch));
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(TextOf(options->invoke.event), "{}");
  EXPECT_EQ(options->invoke.repeat, 1u);
  EXPECT_TRUE(options->verify);
  EXPECT_FALSE(options->memory_mib);
  EXPECT_FALSE(options->vcpus);
  EXPECT_FALSE(options->timeout_ms);
  EXPECT_EQ(options->kernel.kernel, scratch / "vmlinux");
  EXPECT_EQ(options->guest.init(), scratch / "guest/init");
  EXPECT_EQ(options->guest.handler(), scratch / "guest/handler");
}

TEST(PrepareRunTest, ValuesAreRead) {
  const Scratch scratch;
  RunArguments arguments = GoodArguments(scratch);
  arguments.memory = "256M";
  arguments.vcpus = "4";
  arguments.timeout = "500ms";
  arguments.repeat = "10";
  arguments.no_verify = true;
  const auto options = PrepareRun(arguments);
  EXPECT_EQ(options->memory_mib, 256u);
  EXPECT_EQ(options->vcpus, 4u);
  EXPECT_EQ(options->timeout_ms, 500u);
  EXPECT_EQ(options->invoke.repeat, 10u);
  EXPECT_FALSE(options->verify);
}

TEST(PrepareRunTest, WrongValuesNameTheirOption) {
  const Scratch scratch;
  RunArguments memory = GoodArguments(scratch);
  memory.memory = "10K";
  RunArguments vcpus = GoodArguments(scratch);
  vcpus.vcpus = "33";
  RunArguments timeout = GoodArguments(scratch);
  timeout.timeout = "16m";
  RunArguments repeat = GoodArguments(scratch);
  repeat.repeat = "0";
  EXPECT_TRUE(Mentions(MessageOf(PrepareRun(memory)), "--memory: \"10K\": expected"));
  EXPECT_TRUE(Mentions(MessageOf(PrepareRun(vcpus)), "--vcpus: \"33\": expected"));
  EXPECT_TRUE(Mentions(MessageOf(PrepareRun(timeout)), "--timeout: \"16m\": expected"));
  EXPECT_TRUE(Mentions(MessageOf(PrepareRun(repeat)), "--repeat: \"0\": expected"));
}

TEST(PrepareRunTest, MissingKernelAndGuestAreNamed) {
  const Scratch scratch;
  RunArguments kernel = GoodArguments(scratch);
  kernel.kernel = scratch / "gone";
  RunArguments guest = GoodArguments(scratch);
  guest.guest_directory = scratch / "no-guest";
  EXPECT_EQ(CodeOf(PrepareRun(kernel)), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(PrepareRun(kernel)), "kernel: " + (scratch / "gone")));
  EXPECT_TRUE(Mentions(MessageOf(PrepareRun(guest)), "guest programs: no init and handler in"));
}

TEST(ReadEventTest, FileIsRead) {
  const Scratch scratch;
  const std::string binary("\0\xff{", 3);
  EXPECT_EQ(TextOf(*ReadEvent("@" + scratch.Write("e", binary))), binary);
  EXPECT_TRUE(Mentions(MessageOf(ReadEvent("@" + (scratch / "gone"))), "event: open"));
}

TEST(ReadEventTest, LargestEventIsTakenAndOneByteMoreRefused) {
  const Scratch scratch;
  const std::string largest(control::kMaxEvent, 'x');
  EXPECT_EQ(ReadEvent("@" + scratch.Write("e", largest))->size(), control::kMaxEvent);
  EXPECT_EQ(CodeOf(ReadEvent("@" + scratch.Write("e", largest + "x"))), ErrorCode::kTooLarge);
  EXPECT_EQ(CodeOf(ReadEvent(largest + "x")), ErrorCode::kTooLarge);
  EXPECT_EQ(ReadEvent(largest)->size(), control::kMaxEvent);
}

TEST(ReadEventTest, EndlessFileIsRefused) {
  EXPECT_EQ(CodeOf(ReadEvent("@/dev/zero")), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace mayfly
