#include <elf.h>

#include "tests/command/command_fixture.h"

namespace mayfly {
namespace {

class BadInputTest : public CommandFixture {
 protected:
  // `mayfly vm` with this kernel.
  static ProgramResult Vm(const std::string& kernel, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"vm", "--kernel", kernel};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Mayfly(std::move(arguments));
  }
  static std::string Guest() { return Build("test-guests/basic"); }

  std::string PackExample() const {
    const std::string image = PathFor("echo.mfn");
    const ProgramResult built = Mayfly({"build", Build("examples/echo-c"), "-o", image});
    EXPECT_EQ(built.status, 0) << built.err;
    return image;
  }
  static ProgramResult Run(const std::string& image) {
    return Mayfly({"run", image, "--kernel", Guest(), "--event", "{}"});
  }
};

TEST_F(BadInputTest, MissingKernel) {
  ExpectError(Vm("/nonexistent/vmlinux"), 4, "/nonexistent/vmlinux");
}

TEST_F(BadInputTest, TruncatedKernel) {
  Write("vmlinux", Contents(Guest()).substr(0, 5000));
  ExpectError(Vm(PathFor("vmlinux")), 4, "vmlinux: truncated");
}

TEST_F(BadInputTest, KernelOfAnotherArchitecture) {
  std::string kernel = Contents(Guest());
  kernel[offsetof(Elf64_Ehdr, e_machine)] = static_cast<char>(EM_AARCH64);
  Write("vmlinux", kernel);
  ExpectError(Vm(PathFor("vmlinux")), 4, "another architecture");
}

TEST_F(BadInputTest, MissingInitrd) {
  ExpectError(Vm(Guest(), {"--initrd", "/nonexistent/initrd"}), 4, "/nonexistent/initrd");
}

TEST_F(BadInputTest, MissingDisk) {
  ExpectError(Vm(Guest(), {"--disk", "/nonexistent/disk.img"}), 4, "/nonexistent/disk.img");
}

TEST_F(BadInputTest, MemoryLargerThanTheHosts) {
  ExpectError(Vm(Guest(), {"--memory", "1000G"}), 2, "this host has");
}

TEST_F(BadInputTest, SocketPathOf108Bytes) {
  ExpectError(Vm(Guest(), {"--vsock", "/" + std::string(107, 's')}), 2, "ssss");
}

TEST_F(BadInputTest, FileWhereTheSocketShouldBe) {
  Write("v.sock", "precious");
  ExpectError(Vm(Guest(), {"--vsock", PathFor("v.sock")}), 2, "v.sock");
  EXPECT_EQ(Contents(PathFor("v.sock")), "precious");
}

TEST_F(BadInputTest, UnknownOption) { EXPECT_EQ(Mayfly({"vm", "--no-such-option"}).status, 2); }

TEST_F(BadInputTest, UnknownKeyOfTheConfiguration) {
  Write("vm.json", R"({"kernel": "vmlinux", "disks": [{"path": "d", "readonly": true}]})");
  ExpectError(Mayfly({"vm", "--config", PathFor("vm.json")}), 2, "/disks/0/readonly");
}

// A name space where /dev/kvm is not, or is nobody's, leaves the host's alone.
TEST_F(BadInputTest, NoKvmDevice) {
  const ProgramResult result =
      RunProgram({"unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev && exec \"$0\" \"$@\"",
                  Build("bin/mayfly"), "vm", "--kernel", Guest()});
  if (result.err.find("unshare:") == 0) GTEST_SKIP() << "needs root for a mount namespace";
  ExpectError(result, 3, "/dev/kvm");
}

TEST_F(BadInputTest, NoPermissionForTheKvmDevice) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const ProgramResult result =
      RunProgram({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                  Build("bin/mayfly"), "vm", "--kernel", Guest()});
  if (result.err.find("/dev/kvm") == std::string::npos) {
    GTEST_SKIP() << "the build tree, or /dev/kvm, is open to everybody or nobody here";
  }
  ExpectError(result, 3, "/dev/kvm");
}

TEST_F(BadInputTest, MissingImage) {
  ExpectError(Run("/nonexistent/f.mfn"), 4, "/nonexistent/f.mfn");
}

TEST_F(BadInputTest, TruncatedImage) {
  const std::string image = Contents(PackExample());
  Write("short.mfn", image.substr(0, image.size() - 4096));
  ExpectError(Run(PathFor("short.mfn")), 4, "short.mfn");
}

TEST_F(BadInputTest, ImageWithAFlippedBit) {
  std::string image = Contents(PackExample());
  image[image.size() / 2] = static_cast<char>(image[image.size() / 2] ^ 1);
  Write("flipped.mfn", image);
  ExpectError(Run(PathFor("flipped.mfn")), 4, "flipped.mfn");
}

TEST_F(BadInputTest, EventAboveTheLimit) {
  const ProgramResult result = Mayfly({"run", PackExample(), "--kernel", Guest(), "--event", "-"},
                                      std::string(6 * 1024 * 1024 + 1, 'x'));
  ExpectError(result, 2, "6291456");
}

// A limit on the size of files is a disk that fills up.
TEST_F(BadInputTest, FullDiskLeavesNoImageBehind) {
  const ProgramResult result =
      RunProgram({"sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"", Build("bin/mayfly"),
                  "build", Build("examples/echo-c"), "-o", PathFor("echo.mfn")});
  EXPECT_EQ(result.status, 3) << result.err;
  EXPECT_EQ(FilesLeft(), 0);
}

TEST_F(BadInputTest, MissingSubcommandIsUsage) { EXPECT_EQ(Mayfly({}).status, 2); }

TEST_F(BadInputTest, MetricsThatCannotBeWrittenAreRefusedBeforeTheStart) {
  const std::vector<std::string> vm{"vm", "--kernel", Build("test-guests/basic"), "--metrics"};
  std::vector<std::string> nowhere = vm;
  nowhere.push_back(PathFor("none/m.prom"));
  ExpectError(Mayfly(nowhere), 4, "none/m.prom");
  std::vector<std::string> directory = vm;
  directory.push_back(directory_);
  ExpectError(Mayfly(directory), 2, "no regular file");
  EXPECT_EQ(FilesLeft(), 0);
}

}  // namespace
}  // namespace mayfly
