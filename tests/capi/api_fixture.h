#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/temp_dir.h"
#include "vmm/include/mayfly.h"

namespace mayfly {

// An instance of the library, and a function image whose kernel is the test guest "control": it
// answers as mayfly-init does. Skips where there is no KVM.
class ApiFixture : public testing::Test {
 protected:
  static constexpr int kMostMilliseconds = 60'000;

  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;
  // Everything that a test has opened is closed by then: the instance must close.
  void TearDown() override;

  // The .mfn file.
  static std::string ImagePath();
  // A snapshot of the function, made for the first test that asks.
  static const std::string& SnapshotPath();
  static std::string GuestPath(const std::string& name);
  // A path in a directory that goes with the test suite.
  static std::string PathFor(const std::string& name);

  // Options with which the image boots natively.
  static mayfly_boot_options BootOptions();

  [[nodiscard]] mayfly_function* Boot(const mayfly_boot_options& options) const;
  [[nodiscard]] mayfly_snapshot* OpenSnapshot() const;
  // A new clone of SnapshotPath().
  [[nodiscard]] mayfly_function* Clone() const;
  // A new clone of the snapshot at `path` answers with its event.
  void ExpectCloneEchoes(const std::string& path, const std::string& event) const;
  // A machine with the test guest `guest`, booted.
  [[nodiscard]] mayfly_machine* BootMachine(const std::string& guest,
                                            const std::string& command_line) const;

  // The answer, or the code's name and text.
  static std::string Invoke(mayfly_function* function, const std::string& event);
  static std::string ErrorOf(const void* handle);

  mayfly_instance* lib_ = nullptr;

 private:
  static std::unique_ptr<TempDir> directory_;
  static std::string snapshot_;
};

}  // namespace mayfly
