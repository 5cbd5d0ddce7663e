#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/program.h"

namespace mayfly {

// Runs the mayfly command with Linux guests. Skips without a KVM that can run them.
class GuestFixture : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // `mayfly` with these arguments.
  static ProgramResult Mayfly(std::vector<std::string> arguments, const std::string& input = "");
  // The function image of an example, packed on first use.
  static std::string Image(const std::string& example);
  // `mayfly run` of an example with the minimal kernel.
  static ProgramResult RunExample(const std::string& example, const std::string& event,
                                  std::vector<std::string> more = {});
  // `mayfly vm` with a small initrd whose init runs `script` in busybox's shell.
  ProgramResult RunMachine(const std::string& kernel, const std::string& script,
                           std::vector<std::string> more = {});

  // A read-only disk image with these programs of the host's in bin/ and the shared libraries that
  // they need, and with empty directories dev/, proc/ and tmp/, for a guest to mount (EROFS) and
  // chroot into.
  std::string ProgramsDisk(const std::vector<std::string>& names);

  // The command line of those machines.
  static constexpr char kCommandLine[] = "quiet console=ttyS0 panic=-1 reboot=a pci=off";
  // Such an initrd alone; returns its path. AddProgram() puts a static program into it before.
  std::string PackInitrd(const std::string& script);
  void AddProgram(const std::string& path);

  // From the environment: bundle directories.
  static std::string MinimalKernel();
  static std::string DebianKernel();
  [[nodiscard]] std::string PathFor(const std::string& name) const;

 private:
  static constexpr std::chrono::seconds kTimeout{120};

  std::string directory_;
};

}  // namespace mayfly
