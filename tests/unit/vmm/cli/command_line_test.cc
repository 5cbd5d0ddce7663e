#include "vmm/cli/command_line.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

template <class Arguments>
Arguments Parse(const std::vector<std::string>& arguments) {
  const auto command = ParseCommandLine(arguments);
  EXPECT_TRUE(command) << command.error().message();
  return std::get<Arguments>(*command);
}

std::string Fault(const std::vector<std::string>& arguments) {
  const auto command = ParseCommandLine(arguments);
  EXPECT_EQ(CodeOf(command), ErrorCode::kInvalidArgument);
  return MessageOf(command);
}

std::string Help(const std::vector<std::string>& arguments) {
  return Parse<HelpText>(arguments).text;
}

TEST(CommandLineTest, RunTakesItsOptions) {
  const auto run = Parse<RunArguments>({"run", "f.mfn", "--event", "-", "--json", "--repeat", "3",
                                        "--memory", "1G", "--vcpus", "2", "--timeout", "5s",
                                        "--kernel", "k", "--guest-dir", "g", "--console"});
  EXPECT_EQ(run.image, "f.mfn");
  EXPECT_EQ(run.event, "-");
  EXPECT_TRUE(run.json);
  EXPECT_EQ(run.repeat, "3");
  EXPECT_EQ(run.memory, "1G");
  EXPECT_EQ(run.vcpus, "2");
  EXPECT_EQ(run.timeout, "5s");
  EXPECT_EQ(run.kernel, "k");
  EXPECT_EQ(run.guest_directory, "g");
  EXPECT_TRUE(run.console);
  EXPECT_FALSE(run.no_verify);
}

TEST(CommandLineTest, EventsThatLookLikeSyntaxAreTakenAsTheyAre) {
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event", "[1,2]"}).event, "[1,2]");
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event", "{}"}).event, "{}");
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event", "-5"}).event, "-5");
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event", "\"a b\\n\""}).event, "\"a b\\n\"");
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event={\"a\":1}"}).event, "{\"a\":1}");
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event", ""}).event, "");
  EXPECT_EQ(Parse<RunArguments>({"run", "f", "--event", "\n%%"}).event, "\n%%");
}

TEST(CommandLineTest, VmTakesSeveralDisks) {
  const auto vm = Parse<VmArguments>({"vm", "--kernel", "k", "--disk", "a", "--disk", "[b,c],ro",
                                      "--vsock", "s,cid=4", "--cmdline", "", "--rng"});
  EXPECT_EQ(vm.disks, (std::vector<std::string>{"a", "[b,c],ro"}));
  EXPECT_EQ(vm.vsock, "s,cid=4");
  EXPECT_EQ(vm.command_line, "");
  EXPECT_TRUE(vm.rng);
}

TEST(CommandLineTest, BuildAndTheOthersParse) {
  EXPECT_EQ(Parse<BuildArguments>({"build", "d", "-o", "x.mfn"}).output, "x.mfn");
  EXPECT_EQ(Parse<BuildArguments>({"build", "-o", "x.mfn", "d"}).directory, "d");
  EXPECT_TRUE(Parse<DoctorArguments>({"doctor", "--json"}).json);
  EXPECT_TRUE(Parse<VersionArguments>({"version", "--json"}).json);
  EXPECT_FALSE(Parse<VersionArguments>({"--version"}).json);
}

TEST(CommandLineTest, EveryHelpHasExamples) {
  EXPECT_NE(Help({"--help"}).find("Examples:"), std::string::npos);
  EXPECT_NE(Help({"doctor", "--help"}).find("mayfly doctor --json"), std::string::npos);
  EXPECT_NE(Help({"build", "--help"}).find("mayfly build examples/"), std::string::npos);
  EXPECT_NE(Help({"run", "-h"}).find("--event @event.json"), std::string::npos);
  EXPECT_NE(Help({"vm", "--help"}).find("--config machine.json"), std::string::npos);
  EXPECT_NE(Help({"version", "--help"}).find("mayfly version"), std::string::npos);
}

TEST(CommandLineTest, WrongUsageIsOneLineThatNamesTheHelp) {
  EXPECT_TRUE(Mentions(Fault({}), "(see mayfly --help)"));
  EXPECT_TRUE(Mentions(Fault({"fly"}), "fly"));
  EXPECT_TRUE(Mentions(Fault({"run"}), "image is required (see mayfly run --help)"));
  EXPECT_TRUE(Mentions(Fault({"run", "f", "--no-such"}), "--no-such (see mayfly run --help)"));
  EXPECT_TRUE(Mentions(Fault({"run", "f", "g\nh"}), "g h"));
  EXPECT_TRUE(Mentions(Fault({"run", "f", "--event"}), "--event"));
  EXPECT_TRUE(Mentions(Fault({"build", "d"}), "--output is required"));
}

TEST(CommandLineTest, OptionTwiceIsRefused) {
  EXPECT_TRUE(Mentions(Fault({"run", "f", "--memory", "1G", "--memory", "2G"}), "--memory"));
  EXPECT_TRUE(Mentions(Fault({"vm", "--kernel", "a", "--kernel", "b"}), "--kernel"));
}

TEST(CommandLineTest, VersionIsPrintedBothWays) {
  EXPECT_TRUE(VersionText({}).starts_with("mayfly "));
  EXPECT_TRUE(VersionText({.json = true}).starts_with("{\"mayfly\":\""));
}

}  // namespace
}  // namespace mayfly
