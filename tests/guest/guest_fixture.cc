#include "tests/guest/guest_fixture.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/jailed.h"

namespace mayfly {
namespace {

const char* Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string GuestFixture::MinimalKernel() { return Environment("MAYFLY_TEST_MINIMAL_KERNEL"); }
std::string GuestFixture::DebianKernel() { return Environment("MAYFLY_TEST_DEBIAN_KERNEL"); }

void GuestFixture::SetUp() {
  if (MinimalKernel().empty() || DebianKernel().empty()) {
    GTEST_SKIP() << "needs guest kernels and a KVM that runs Linux; scripts/test provides them";
  }
  std::string pattern = testing::TempDir() + "/mayfly-guest.XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
}

void GuestFixture::TearDown() {
  if (!directory_.empty()) std::filesystem::remove_all(directory_);
}

std::string GuestFixture::PathFor(const std::string& name) const { return directory_ + "/" + name; }

ProgramResult GuestFixture::Mayfly(std::vector<std::string> arguments, const std::string& input) {
  arguments = JailedIfAsked(std::move(arguments));
  arguments.insert(arguments.begin(), std::string(MAYFLY_BUILD_DIR) + "/bin/mayfly");
  ProgramResult result = RunProgram(arguments, input, kTimeout);
  // scripts/guest-tests knows this text.
  EXPECT_NE(result.status, -1) << "mayfly did not end within " << kTimeout.count() << " s";
  return result;
}

std::string GuestFixture::Image(const std::string& example) {
  const std::string image = testing::TempDir() + "/mayfly-" + example + ".mfn";
  if (!std::filesystem::exists(image)) {
    const ProgramResult built =
        Mayfly({"build", std::string(MAYFLY_BUILD_DIR) + "/examples/" + example, "-o", image});
    EXPECT_EQ(built.status, 0) << built.err;
  }
  return image;
}

ProgramResult GuestFixture::RunExample(const std::string& example, const std::string& event,
                                       std::vector<std::string> more) {
  std::vector<std::string> arguments{"run",           Image(example), "--kernel",
                                     MinimalKernel(), "--event",      "-"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return Mayfly(std::move(arguments), event);
}

std::string GuestFixture::ProgramsDisk(const std::vector<std::string>& names) {
  // ldd's lines are "name => path (address)", or "path (address)" for the dynamic linker. Libraries
  // keep their places.
  const std::string root = PathFor("programs");
  for (const char* folder : {"bin", "dev", "proc", "tmp"}) {
    std::filesystem::create_directories(root + "/" + folder);
  }
  const std::string copy =
      "cd \"$0\" && PATH=$PATH:/sbin:/usr/sbin && program=$(command -v \"$1\") && "
      "cp -L $program bin/ && ldd $program | grep -o '/[^ ]*' | "
      "while read -r library; do mkdir -p .$(dirname $library); cp -Ln $library .$library; done";
  for (const std::string& name : names) {
    const ProgramResult copied = RunProgram({"sh", "-c", copy, root, name});
    EXPECT_EQ(copied.status, 0) << name << ": " << copied.err;
  }
  const ProgramResult made = RunProgram({"mkfs.erofs", "--quiet", PathFor("programs.img"), root});
  EXPECT_EQ(made.status, 0) << made.err;
  return PathFor("programs.img");
}

void GuestFixture::AddProgram(const std::string& path) {
  const std::string folder = PathFor("root") + "/bin";
  std::filesystem::create_directories(folder);
  std::filesystem::copy(path, folder);
}

std::string GuestFixture::PackInitrd(const std::string& script) {
  const std::string root = PathFor("root");
  for (const char* folder : {"bin", "proc", "dev", "sys", "mnt"}) {
    std::filesystem::create_directories(root + "/" + folder);
  }
  std::filesystem::copy_file("/bin/busybox", root + "/bin/busybox",
                             std::filesystem::copy_options::overwrite_existing);
  std::ofstream(root + "/init") << "#!/bin/busybox sh\n"
                                   "export PATH=/bin\n"
                                   "/bin/busybox --install -s /bin\n"
                                   "mount -t proc proc /proc\n"
                                << script << "\npoweroff -f\n";
  std::filesystem::permissions(root + "/init", std::filesystem::perms::owner_all);
  const ProgramResult packed = RunProgram(
      {"sh", "-c", "cd " + root + " && find . | cpio --quiet -o -H newc >" + PathFor("initrd")});
  EXPECT_EQ(packed.status, 0) << packed.err;
  return PathFor("initrd");
}

ProgramResult GuestFixture::RunMachine(const std::string& kernel, const std::string& script,
                                       std::vector<std::string> more) {
  std::vector<std::string> arguments{
      "vm", "--kernel", kernel, "--initrd", PackInitrd(script), "--cmdline", kCommandLine};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return Mayfly(std::move(arguments));
}

}  // namespace mayfly
