#include "vmm/cli/cmd_vm.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/vmm/function/scratch.h"
#include "vmm/cli/arguments.h"

namespace mayfly {
namespace {

VmArguments GoodArguments(const Scratch& scratch) {
  VmArguments arguments;
  arguments.kernel = scratch.Write("vmlinux", "");
  return arguments;
}

TEST(PrepareVmTest, KernelAloneGetsTheDefaults) {
  const Scratch scratch;
  const auto options = PrepareVm(GoodArguments(scratch));
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(*options, (VmOptions{.kernel = scratch / "vmlinux"}));
}

TEST(PrepareVmTest, FlagsReplaceTheFile) {
  const Scratch scratch;
  scratch.Write("from-file", "");
  scratch.Write("a.img", "");
  VmArguments arguments = GoodArguments(scratch);
  arguments.config = scratch.Write(
      "vm.json", R"({"kernel": "from-file", "memory_mib": 256, "vcpus": 2, "cmdline": "file",
                     "disks": [{"path": "gone.img"}]})");
  arguments.memory = "1G";
  arguments.command_line = "";
  arguments.disks = {(scratch / "a.img") + ",ro"};
  const auto options = PrepareVm(arguments);
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->kernel, scratch / "vmlinux");
  EXPECT_EQ(options->memory_mib, 1024u);
  EXPECT_EQ(options->vcpus, 2u);
  EXPECT_EQ(options->command_line, "");
  EXPECT_EQ(options->disks, (std::vector<DiskOptions>{{scratch / "a.img", true}}));
}

TEST(PrepareVmTest, MissingFilesAreNamed) {
  const Scratch scratch;
  VmArguments kernel;
  VmArguments config = GoodArguments(scratch);
  config.config = scratch / "vm.json";
  VmArguments initrd = GoodArguments(scratch);
  initrd.initrd = scratch / "gone";
  VmArguments disk = GoodArguments(scratch);
  disk.disks = {scratch / "gone.img"};
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(kernel)), "no kernel: give --kernel"));
  EXPECT_EQ(CodeOf(PrepareVm(config)), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(PrepareVm(initrd)), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(initrd)), "initrd: "));
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(disk)), "gone.img: No such file"));
}

TEST(PrepareVmTest, DiskKeepsCommasThatAreNotItsMode) {
  const Scratch scratch;
  scratch.Write("a,b", "");
  scratch.Write("c", "");
  VmArguments arguments = GoodArguments(scratch);
  arguments.disks = {scratch / "a,b", (scratch / "c") + ",rw"};
  EXPECT_EQ(PrepareVm(arguments)->disks,
            (std::vector<DiskOptions>{{scratch / "a,b", false}, {scratch / "c", false}}));
}

TEST(PrepareVmTest, OneFileAsTwoWritableDisksIsRefused) {
  const Scratch scratch;
  scratch.Write("a", "");
  ASSERT_EQ(::link((scratch / "a").c_str(), (scratch / "b").c_str()), 0);
  VmArguments arguments = GoodArguments(scratch);
  arguments.disks = {(scratch / "a") + ",ro", scratch / "b"};
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "b: given twice"));
  arguments.disks = {(scratch / "a") + ",ro", (scratch / "b") + ",ro"};
  EXPECT_TRUE(PrepareVm(arguments));
}

TEST(PrepareVmTest, DiskOfAnotherKindIsRefused) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.disks = {"/dev/null"};
  EXPECT_EQ(CodeOf(PrepareVm(arguments)), ErrorCode::kCorrupt);
  arguments.disks = {",ro"};
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--disk: \",ro\": expected PATH"));
  arguments.disks = std::vector<std::string>(9, "/dev/null");
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "9 disks, 8 are the most allowed"));
}

TEST(PrepareVmTest, NetsReplaceTheFilesAndTheFirstAddressGoesToTheKernel) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.config = scratch.Write("vm.json", R"({"nets": [{"tap": "gone"}], "cmdline": "quiet"})");
  arguments.nets = {"tap=a,address=10.0.0.2/24", "tap=b"};
  const auto options = PrepareVm(arguments);
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->nets.size(), 2u);
  EXPECT_EQ(options->command_line, "quiet ip=10.0.0.2:::255.255.255.0::eth0:off");
}

TEST(PrepareVmTest, NetsOutsideOfTheLimitsAreRefused) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.nets = {"tap=a,mtu=1"};
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--net: mtu: \"1\": expected"));
  arguments.nets = {"tap=a", "tap=b,address=10.0.0.2/24"};
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "net 1: address: the kernel takes one"));
  arguments.nets = std::vector<std::string>(9, "tap=a");
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "9 devices, 8 are the most allowed"));
}

TEST(PrepareVmTest, VsockTakesACid) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.vsock = (scratch / "s,x") + ",cid=77";
  EXPECT_EQ(PrepareVm(arguments)->vsock, (VsockOptions{scratch / "s,x", 77}));
  arguments.vsock = scratch / "s";
  EXPECT_EQ(PrepareVm(arguments)->vsock, (VsockOptions{scratch / "s"}));
}

TEST(PrepareVmTest, VsockTakesAllowedPortsInAnyPlace) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  const VsockOptions expected{scratch / "s", 9, PortPolicy({{1024, 2000}, {5000, 5000}})};
  arguments.vsock = (scratch / "s") + ",cid=9,allow=1024-2000;5000";
  EXPECT_EQ(PrepareVm(arguments)->vsock, expected);
  arguments.vsock = (scratch / "s") + ",allow=1024-2000;5000,cid=9";
  EXPECT_EQ(PrepareVm(arguments)->vsock, expected);
  arguments.vsock = (scratch / "s") + ",allow=none";
  EXPECT_EQ(PrepareVm(arguments)->vsock->allow, PortPolicy(std::vector<PortRange>{}));
}

TEST(PrepareVmTest, PortsThatAreNoneAreRefused) {
  EXPECT_FALSE(ParsePortRanges(""));
  EXPECT_FALSE(ParsePortRanges("1;"));
  EXPECT_FALSE(ParsePortRanges("1-"));
  EXPECT_FALSE(ParsePortRanges("2-1"));
  EXPECT_FALSE(ParsePortRanges("4294967296"));
  EXPECT_FALSE(ParsePortRanges("1,2"));
}

TEST(PrepareVmTest, VsockOutsideOfTheLimitsIsRefused) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.vsock = (scratch / "s") + ",cid=2";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--vsock: cid: \"2\": expected"));
  arguments.vsock = (scratch / "s") + ",cid=4294967295";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--vsock: cid: \"4294967295\": expected"));
  arguments.vsock = std::string(108, 's');
  EXPECT_EQ(CodeOf(PrepareVm(arguments)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "108 bytes"));
}

TEST(PrepareVmTest, BalloonTakesItsOptions) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.balloon = "target=64M,stats=1s,deflate-on-oom";
  EXPECT_EQ(PrepareVm(arguments)->balloon, (BalloonOptions{64, 1000, true}));
  arguments.balloon = "target=0";
  EXPECT_EQ(PrepareVm(arguments)->balloon, BalloonOptions{});
}

TEST(PrepareVmTest, BalloonOutsideOfTheLimitsIsRefused) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.balloon = "64M";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--balloon: \"64M\": expected target="));
  arguments.balloon = "target=129M";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "balloon: 129 MiB, the guest has 128"));
  arguments.balloon = "stats=1ms";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--balloon: stats: \"1ms\": expected"));
}

TEST(PrepareVmTest, VsockPathThatExistsIsRefused) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  ASSERT_EQ(::symlink("/nowhere", (scratch / "link").c_str()), 0);
  arguments.vsock = scratch / "link";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "link: exists already"));
  arguments.vsock = scratch / "gone/s";
  EXPECT_EQ(CodeOf(PrepareVm(arguments)), ErrorCode::kNotFound);
}

TEST(PrepareVmTest, ARestoredMachineTakesItsMemorysWayAndDevices) {
  const Scratch scratch;
  scratch.Write("disk", "d");
  VmArguments arguments;
  arguments.restore = "vm.snap";
  arguments.memory = "uffd";
  arguments.unverified = true;
  arguments.disks = {(scratch / "disk") + ",ro"};
  const auto options = PrepareVm(arguments);
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(*options->restore, (VmRestoreOptions{"vm.snap", FillMemory::kUffd, true}));
  EXPECT_EQ(options->disks.size(), 1);
}

TEST(PrepareVmTest, WhatTheSnapshotSaysIsNotGivenBesideIt) {
  VmArguments arguments;
  arguments.restore = "vm.snap";
  arguments.vcpus = "2";
  EXPECT_EQ(MessageOf(PrepareVm(arguments)), "--vcpus: not with --restore, the snapshot says it");
  arguments.vcpus.clear();
  arguments.command_line = "";
  EXPECT_EQ(MessageOf(PrepareVm(arguments)), "--cmdline: not with --restore, the snapshot says it");
}

TEST(PrepareVmTest, SnapshotTakesATimeAndWhetherToEnd) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.snapshot_to = scratch / "snap";
  EXPECT_EQ(*PrepareVm(arguments)->snapshot, (VmSnapshotOptions{scratch / "snap"}));
  arguments.snapshot_after = "1500ms";
  arguments.snapshot_exit = true;
  EXPECT_EQ(*PrepareVm(arguments)->snapshot, (VmSnapshotOptions{scratch / "snap", 1500, true}));
  arguments.snapshot_after = "0";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "--snapshot-after: \"0\": expected"));
}

TEST(PrepareVmTest, SnapshotNeedsANewDirectory) {
  const Scratch scratch;
  VmArguments arguments = GoodArguments(scratch);
  arguments.snapshot_exit = true;
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "need --snapshot-to"));
  arguments.snapshot_to = scratch / "vmlinux";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(arguments)), "vmlinux: exists already"));
}

TEST(PrepareVmTest, UnverifiedAndOverridesAreForRestoredMachines) {
  const Scratch scratch;
  VmArguments unverified = GoodArguments(scratch);
  unverified.unverified = true;
  VmArguments overridden = GoodArguments(scratch);
  overridden.overrides = {"vsock.cid=5"};
  const std::string refusal = "--unverified and --override need --restore";
  EXPECT_EQ(MessageOf(PrepareVm(unverified)), refusal);
  EXPECT_EQ(MessageOf(PrepareVm(overridden)), refusal);
}

TEST(PrepareVmTest, MemoryAndCpusAreBounded) {
  const Scratch scratch;
  VmArguments memory = GoodArguments(scratch);
  memory.memory = "63M";
  VmArguments vast = GoodArguments(scratch);
  vast.memory = "1024G";
  VmArguments vcpus = GoodArguments(scratch);
  vcpus.vcpus = "33";
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(memory)), "--memory: \"63M\": expected"));
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(vast)), "memory: 1048576 MiB for the guest"));
  EXPECT_TRUE(Mentions(MessageOf(PrepareVm(vcpus)), "--vcpus: \"33\": expected"));
}

}  // namespace
}  // namespace mayfly
