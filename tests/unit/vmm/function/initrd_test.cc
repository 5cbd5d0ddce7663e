#include "vmm/function/initrd.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"
#include "vmm/function/interrupts.h"
#include "vmm/function/run_program.h"

namespace mayfly {
namespace {

InitrdContents Contents(const Scratch& scratch) {
  return {.init = scratch.Write("mayfly-init", "the init"),
          .handler = scratch.Write("mayfly-handler", "handler!"),
          .modules = {scratch.Write("b.ko", "B"), scratch.Write("a.ko", "module A")}};
}

// What cpio says about the archive, an entry a line.
std::string List(const Scratch& scratch, const std::vector<uint8_t>& archive,
                 const std::string& options) {
  scratch.Write("archive", AsText(archive));
  const auto interrupts = Interrupts::Create();
  const auto outcome =
      RunProgram({"sh", "-c", "cpio " + options + " <archive"}, scratch.path(), *interrupts);
  EXPECT_EQ(outcome->status, 0) << outcome->output;
  return outcome->output;
}

TEST(InitrdTest, CpioListsItsEntries) {
  const Scratch scratch;
  const auto archive = BuildInitrd(Contents(scratch));
  ASSERT_TRUE(archive);
  EXPECT_EQ(List(scratch, *archive, "-t --quiet"),
            "dev\nproc\nsys\nrun\ntmp\nmnt\nmayfly\nmayfly/bin\nmayfly/modules\ndev/console\ninit\n"
            "mayfly/bin/handler\nmayfly/modules/000-b.ko\nmayfly/modules/001-a.ko\n");
}

TEST(InitrdTest, ModesAndDevicesAreRight) {
  const Scratch scratch;
  const auto archive = BuildInitrd(Contents(scratch));
  const std::string listing = List(scratch, *archive, "-tv --quiet");
  EXPECT_NE(listing.find("crw-------   1 root     root       5,   1"), std::string::npos)
      << listing;
  EXPECT_NE(listing.find("-rwxr-xr-x   1 root     root            8 Jan  1  1970 init"),
            std::string::npos)
      << listing;
}

TEST(InitrdTest, CpioUnpacksTheContents) {
  const Scratch scratch;
  const auto archive = BuildInitrd(Contents(scratch));
  List(scratch, *archive, "-id --quiet init 'mayfly*'");
  EXPECT_EQ(scratch.Read("init"), "the init");
  EXPECT_EQ(scratch.Read("mayfly/bin/handler"), "handler!");
  EXPECT_EQ(scratch.Read("mayfly/modules/001-a.ko"), "module A");
}

TEST(InitrdTest, EqualFilesGiveEqualBytesInWholePages) {
  const Scratch one;
  const Scratch two;
  const auto archive = BuildInitrd(Contents(one));
  EXPECT_EQ(*archive, *BuildInitrd(Contents(two)));
  EXPECT_EQ(archive->size() % 4096, 0u);
}

TEST(InitrdTest, FileThatIsTooLargeIsNamed) {
  const Scratch scratch;
  InitrdContents contents = Contents(scratch);
  contents.handler = scratch.Write("large", "");
  ASSERT_EQ(::truncate(contents.handler.c_str(), (off_t{64} << 20) + 1), 0);
  const auto archive = BuildInitrd(contents);
  EXPECT_EQ(CodeOf(archive), ErrorCode::kTooLarge);
  EXPECT_TRUE(Mentions(MessageOf(archive), "large: 67108865 bytes"));
}

TEST(InitrdTest, MissingFileIsNamed) {
  const Scratch scratch;
  InitrdContents contents = Contents(scratch);
  contents.init = scratch / "absent";
  const auto archive = BuildInitrd(contents);
  EXPECT_EQ(CodeOf(archive), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(archive), "absent: No such file"));
}

}  // namespace
}  // namespace mayfly
