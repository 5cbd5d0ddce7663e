#include "vmm/cli/machine_config.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

std::string FaultIn(std::string_view text) {
  return MessageOf(ParseMachineConfig(text, "vm.json", "/d"));
}

TEST(MachineConfigTest, EveryFieldIsRead) {
  const auto options = ParseMachineConfig(
      R"({"kernel": "/k", "initrd": "i", "cmdline": "quiet", "memory_mib": 5120, "vcpus": 4,
          "disks": [{"path": "a.img", "read_only": true}, {"path": "/b.img"}],
          "nets": [{"tap": "tap0", "mtu": 1400}],
          "vsock": {"path": "s.sock", "cid": 9, "allow": "80"},
          "balloon": {"target_mib": 64, "stats_ms": 500, "deflate_on_oom": true}, "rng": true})",
      "vm.json", "/d");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(*options, (VmOptions{.kernel = "/k",
                                 .initrd = "/d/i",
                                 .command_line = "quiet",
                                 .memory_mib = 5120,
                                 .vcpus = 4,
                                 .disks = {{"/d/a.img", true}, {"/b.img", false}},
                                 .nets = {*ParseNet("tap=tap0,mtu=1400")},
                                 .vsock = VsockOptions{"/d/s.sock", 9, PortPolicy({{80, 80}})},
                                 .balloon = BalloonOptions{64, 500, true},
                                 .rng = true}));
}

TEST(MachineConfigTest, EmptyObjectIsTheDefaults) {
  EXPECT_EQ(*ParseMachineConfig("{}", "vm.json", "/d"), VmOptions{});
}

TEST(MachineConfigTest, UnknownKeysNameTheirPath) {
  EXPECT_TRUE(Mentions(FaultIn(R"({"mem": 1})"), "vm.json: /mem: unknown key (known here: kernel"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"disks": [{"path": "a"}, {"path": "b", "ro": true}]})"),
                       "vm.json: /disks/1/ro: unknown key"));
}

TEST(MachineConfigTest, WrongTypesNameTheirPath) {
  EXPECT_EQ(FaultIn(R"({"kernel": 1})"), "vm.json: /kernel: expected a string, found a number");
  EXPECT_EQ(FaultIn(R"({"rng": 1})"), "vm.json: /rng: expected true or false, found a number");
  EXPECT_EQ(FaultIn(R"({"disks": {}})"), "vm.json: /disks: expected an array, found an object");
  EXPECT_EQ(FaultIn(R"({"disks": [7]})"), "vm.json: /disks/0: expected an object, found a number");
  EXPECT_EQ(FaultIn(R"({"vsock": {"cid": 3}})"), "vm.json: /vsock/path: is missing");
}

TEST(MachineConfigTest, ValuesAreBounded) {
  EXPECT_TRUE(Mentions(FaultIn(R"({"memory_mib": 63})"), "/memory_mib: expected"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"memory_mib": 17592186044416})"), "/memory_mib: expected"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"vcpus": 33})"), "/vcpus: expected"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"vsock": {"path": "s", "cid": 2}})"), "/vsock/cid: expected"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"vsock": {"path": "s", "allow": "x"}})"), "/vsock/allow: "));
  EXPECT_TRUE(Mentions(FaultIn(R"({"kernel": ""})"), "/kernel: expected a path"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"kernel": ")" + std::string(4097, 'k') + "\"}"),
                       "/kernel: expected a path of 1 to 4095 bytes"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"vsock": {"path": ")" + std::string(108, 's') + "\"}}"),
                       "/vsock/path: socket path"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"cmdline": ")" + std::string(2048, 'c') + "\"}"),
                       "/cmdline: kernel command line: 2048 bytes"));
}

TEST(MachineConfigTest, FileIsReadAndItsDirectoryIsTheBase) {
  const Scratch scratch;
  scratch.Write("vm.json", R"({"kernel": "k"})");
  EXPECT_EQ(ReadMachineConfig(scratch / "vm.json")->kernel, scratch / "k");
}

TEST(MachineConfigTest, HugeAndMissingFilesAreRefused) {
  const Scratch scratch;
  scratch.Write("vm.json", std::string(2 << 20, ' '));
  EXPECT_EQ(CodeOf(ReadMachineConfig(scratch / "vm.json")), ErrorCode::kTooLarge);
  EXPECT_EQ(CodeOf(ReadMachineConfig(scratch / "gone.json")), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace mayfly
