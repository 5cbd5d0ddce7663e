#include "vmm/cli/cmd_snapshot.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

// Arguments with which a snapshot can be prepared.
SnapshotArguments GoodArguments(const Scratch& scratch) {
  scratch.Write("guest/init", "");
  scratch.Write("guest/handler", "");
  SnapshotArguments arguments;
  arguments.run.image = "f.mfn";
  arguments.run.kernel = scratch.Write("vmlinux", "");
  arguments.run.guest_directory = scratch / "guest";
  arguments.output = "f.snap";
  return arguments;
}

TEST(PrepareSnapshotTest, FunctionIsNotWarmedUnlessAskedFor) {
  const Scratch scratch;
  const auto options = PrepareSnapshot(GoodArguments(scratch));
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->directory, "f.snap");
  EXPECT_EQ(options->run.image, "f.mfn");
  EXPECT_EQ(options->run.invoke.repeat, 0u);
}

TEST(PrepareSnapshotTest, WarmingsAreCounted) {
  const Scratch scratch;
  SnapshotArguments arguments = GoodArguments(scratch);
  arguments.warm = "100000";
  EXPECT_EQ(PrepareSnapshot(arguments)->run.invoke.repeat, 100'000u);
  arguments.warm = "0";
  EXPECT_EQ(PrepareSnapshot(arguments)->run.invoke.repeat, 0u);
  arguments.warm = "100001";
  EXPECT_TRUE(Mentions(MessageOf(PrepareSnapshot(arguments)), "--warm: \"100001\": expected"));
}

TEST(PrepareSnapshotTest, MissingArgumentsAreNamed) {
  const Scratch scratch;
  SnapshotArguments no_image = GoodArguments(scratch);
  no_image.run.image.clear();
  SnapshotArguments no_output = GoodArguments(scratch);
  no_output.output.clear();
  EXPECT_EQ(CodeOf(PrepareSnapshot(no_image)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(PrepareSnapshot(no_image)), "NAME.mfn is missing"));
  EXPECT_EQ(CodeOf(PrepareSnapshot(no_output)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(PrepareSnapshot(no_output)), "-o DIR is missing"));
}

TEST(PrepareSnapshotTest, RunsOptionsAreChecked) {
  const Scratch scratch;
  SnapshotArguments arguments = GoodArguments(scratch);
  arguments.run.memory = "10K";
  EXPECT_TRUE(Mentions(MessageOf(PrepareSnapshot(arguments)), "--memory: \"10K\": expected"));
}

}  // namespace
}  // namespace mayfly
