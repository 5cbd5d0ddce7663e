#include "vmm/cli/disk_options.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"
#include "vmm/cli/machine_config.h"

namespace mayfly {
namespace {

std::string FaultIn(std::string_view text) { return MessageOf(ParseDisk(text)); }

TEST(DiskOptionsTest, PathAloneGetsTheDefaults) {
  EXPECT_EQ(*ParseDisk("a.img"), (DiskOptions{.path = "a.img"}));
}

TEST(DiskOptionsTest, EveryOptionIsRead) {
  EXPECT_EQ(*ParseDisk("a.img,queues=4,serial=data-1,block_size=4096,engine=thread,rate=10M:1M,"
                       "ops=500,overlay=l.layer"),
            (DiskOptions{.path = "a.img",
                         .overlay = "l.layer",
                         .queues = 4,
                         .serial = "data-1",
                         .block_size = 4096,
                         .engine = BlkEngine::kThread,
                         .limits = {.bytes = {.per_second = 10 << 20, .burst = 1 << 20},
                                    .operations = {.per_second = 500}}}));
}

TEST(DiskOptionsTest, OptionsStandInAnyOrder) {
  EXPECT_EQ(*ParseDisk("a.img,ro,queues=2"), *ParseDisk("a.img,queues=2,ro"));
  EXPECT_TRUE(ParseDisk("a.img,ro,queues=2")->read_only);
}

TEST(DiskOptionsTest, OtherCommasBelongToThePath) {
  EXPECT_EQ(ParseDisk("a,b=c,ro")->path, "a,b=c");
  EXPECT_EQ(ParseDisk("queues=2,x")->path, "queues=2,x");
}

TEST(DiskOptionsTest, FaultsNameTheirKey) {
  EXPECT_EQ(FaultIn(",ro"), "\",ro\": expected PATH or PATH,ro");
  EXPECT_TRUE(Mentions(FaultIn("a,queues=0"), "queues: \"0\": expected"));
  EXPECT_TRUE(Mentions(FaultIn("a,queues=17"), "queues: \"17\": expected"));
  EXPECT_EQ(FaultIn("a,block_size=1024"), "block_size: \"1024\": expected 512 or 4096");
  EXPECT_EQ(FaultIn("a,engine=aio"), "engine: \"aio\": expected io_uring or thread");
  EXPECT_TRUE(Mentions(FaultIn("a,rate=x"), "rate: \"x\": expected a number"));
  EXPECT_TRUE(Mentions(FaultIn("a,ops=0"), "ops: \"0\": expected a number"));
  EXPECT_EQ(FaultIn("a,serial="), "serial: \"\": expected 1 to 20 characters of printable ASCII");
  EXPECT_TRUE(Mentions(FaultIn("a,serial=123456789012345678901"), "serial: \"1234"));
  EXPECT_TRUE(Mentions(FaultIn("a,overlay="), "overlay: \"\": expected a path"));
}

TEST(DiskOptionsTest, OverlayIsForWritingAndServedByAThread) {
  EXPECT_EQ(FaultIn("a,ro,overlay=l"), "an overlay is for writing: not with read-only");
  EXPECT_EQ(FaultIn("a,engine=io_uring,overlay=l"),
            "an overlay is served by a thread, not by io_uring");
}

TEST(DiskOptionsTest, JsonHasTheSameKeys) {
  const auto options = ParseMachineConfig(
      R"({"disks": [{"path": "a.img", "queues": 2, "serial": "s", "block_size": 4096,
                     "engine": "thread", "rate": "1M", "ops": "100:10", "overlay": "l"},
                    {"path": "/b", "read_only": true}]})",
      "vm.json", "/d");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->disks[0],
            (DiskOptions{.path = "/d/a.img",
                         .overlay = "/d/l",
                         .queues = 2,
                         .serial = "s",
                         .block_size = 4096,
                         .engine = BlkEngine::kThread,
                         .limits = {.bytes = {.per_second = 1 << 20},
                                    .operations = {.per_second = 100, .burst = 10}}}));
  EXPECT_TRUE(options->disks[1].read_only);
}

TEST(DiskOptionsTest, JsonFaultsNameTheirPath) {
  const auto fault_in = [](std::string_view text) {
    return MessageOf(ParseMachineConfig(text, "vm.json", "/d"));
  };
  EXPECT_TRUE(Mentions(fault_in(R"({"disks": [{"path": "a", "queues": 17}]})"),
                       "vm.json: /disks/0/queues: \"17\": expected"));
  EXPECT_TRUE(Mentions(fault_in(R"({"disks": [{"path": "a", "queues": "2"}]})"),
                       "/disks/0/queues: expected a whole number"));
  EXPECT_TRUE(Mentions(fault_in(R"({"disks": [{"path": "a", "read_only": true, "overlay": "l"}]})"),
                       "/disks/0: an overlay is for writing"));
}

TEST(DiskOptionsTest, OneBaseMayHaveManyOverlays) {
  const Scratch scratch;
  const std::string base = scratch.Write("base", "x");
  EXPECT_TRUE(CheckDisks({{.path = base, .overlay = "a"}, {.path = base, .overlay = "b"}}));
  EXPECT_TRUE(CheckDisks({{.path = base, .overlay = "a"}, {.path = base, .read_only = true}}));
  EXPECT_FALSE(CheckDisks({{.path = base, .overlay = "a"}, {.path = base}}));
}

}  // namespace
}  // namespace mayfly
