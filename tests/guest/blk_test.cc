#include <sys/stat.h>

#include "tests/guest/guest_fixture.h"

namespace mayfly {
namespace {

// Linux's own driver, file systems and fio against disks. The guest checks, and says so at its end.
class LinuxDiskTest : public GuestFixture {
 protected:
  std::string MakeDisk(const std::string& name, const std::string& size) {
    EXPECT_EQ(RunProgram({"truncate", "-s", size, PathFor(name)}).status, 0);
    return PathFor(name);
  }
  // Runs `script`, which stops at the first command that fails. /dev/vda has the programs, which
  // "in_programs" runs; the disks of `disks` come behind it.
  void ExpectPass(const std::string& script, const std::vector<std::string>& programs,
                  const std::vector<std::string>& disks) {
    const std::string prologue =
        "mount -t devtmpfs dev /dev\nmount -t sysfs sys /sys\n"
        "mkdir /programs /mnt\nmount -t erofs -o ro /dev/vda /programs\n"
        "mount -t devtmpfs dev /programs/dev\nmount -t proc proc /programs/proc\n"
        "in_programs() { chroot /programs \"$@\"; }\n"
        "trap 'echo GUEST-FAILED; poweroff -f' EXIT\nset -e\n";
    std::vector<std::string> arguments{"--memory", "192M",   "--vcpus",
                                       "2",        "--disk", ProgramsDisk(programs) + ",ro"};
    for (const std::string& disk : disks) {
      arguments.insert(arguments.end(), {"--disk", disk});
    }
    const ProgramResult result =
        RunMachine(MinimalKernel() + "/vmlinux", prologue + script + "\ntrap - EXIT\necho GUEST-OK",
                   std::move(arguments));
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("GUEST-OK"), std::string::npos) << result.out << result.err;
  }
};

TEST_F(LinuxDiskTest, FileSystemsAreMadeFilledAndCheckedOnADiskAndOnAnOverlay) {
  ExpectPass(
      "test $(cat /sys/block/vda/ro) = 1\n"
      "! dd if=/dev/zero of=/dev/vda bs=512 count=1 2>/dev/null\n"
      "dd if=/dev/urandom of=/file bs=64k count=8 2>/dev/null\n"
      "for disk in vdb vdc; do\n"
      "  in_programs mkfs.ext4 -q -O ^has_journal /dev/$disk\n"
      "  mount -t ext4 -o discard /dev/$disk /mnt\n"
      "  cp /file /mnt/a; cp /file /mnt/b; sync; cmp /file /mnt/a; rm /mnt/a\n"
      "  umount /mnt\n"
      "  in_programs e2fsck -fn /dev/$disk\n"
      "done\n",
      {"mkfs.ext4", "e2fsck"},
      {MakeDisk("disk", "8M") + ",queues=2",
       MakeDisk("base", "8M") + ",overlay=" + PathFor("layer")});

  EXPECT_EQ(RunProgram({"e2fsck", "-fn", PathFor("disk")}).status, 0);
  struct stat base{};
  ASSERT_EQ(::stat(PathFor("base").c_str(), &base), 0);
  EXPECT_EQ(base.st_blocks, 0);
}

TEST_F(LinuxDiskTest, FioVerifiesWhatItWritesAndTrims) {
  ExpectPass(
      "queue=/sys/block/vdb/queue\n"
      "test $(cat /sys/block/vdb/serial) = of-the-test\n"
      "test $(cat $queue/discard_max_bytes) -gt 0\n"
      "test $(cat $queue/write_zeroes_max_bytes) -gt 0\n"
      "test $(cat $queue/logical_block_size) = 512\n"
      "in_programs fio --filename=/dev/vdb --direct=1 --verify=crc32c --verify_state_save=0 "
      "--thread "
      "--minimal --eta=never --disk_util=0 --clocksource=clock_gettime "
      "--name=write --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=512-64k --size=1m "
      "--fsync=32 "
      "--name=trim --stonewall --ioengine=psync --rw=trimwrite --bs=64k --offset=1m --size=512k "
      ">/dev/null\n"
      "in_programs /bin/blkdiscard -z -o 4096 -l 8192 /dev/vdb\n"
      "test $(dd if=/dev/vdb bs=4096 skip=1 count=2 2>/dev/null | tr -d '\\000' | wc -c) = 0\n",
      {"fio", "blkdiscard"}, {MakeDisk("disk", "4M") + ",serial=of-the-test"});
}

}  // namespace
}  // namespace mayfly
