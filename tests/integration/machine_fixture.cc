#include "tests/integration/machine_fixture.h"

#include <fcntl.h>
#include <poll.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr int kMostMilliseconds = 60'000;

}  // namespace

void MachineFixture::SetUp() {
  if (const auto kvm = Kvm::Open(); !kvm) GTEST_SKIP() << kvm.error().message();
  std::string pattern = testing::TempDir() + "/mayfly-test.XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
  console_ = OpenFile(PathFor("console"), O_RDWR | O_CREAT | O_APPEND).value();
}

void MachineFixture::TearDown() {
  machine_.reset();
  if (!directory_.empty()) std::filesystem::remove_all(directory_);
}

MachineConfig MachineFixture::ConfigFor(const std::string& guest, const std::string& command_line) {
  MachineConfig config;
  config.kernel = std::string(MAYFLY_TEST_GUESTS) + "/" + guest;
  config.command_line = command_line;
  config.serial_output = console_.get();
  return config;
}

void MachineFixture::Start(MachineConfig config) {
  auto machine = MachineBuilder(std::move(config), nullptr).Boot();
  ASSERT_TRUE(machine) << machine.error().message();
  machine_ = std::move(*machine);
  machine_->Resume();
}

void MachineFixture::Start(MachineConfig config,
                           const std::function<void(Machine::Parts&)>& change) {
  auto parts = MachineBuilder(std::move(config), nullptr).Build();
  ASSERT_TRUE(parts) << parts.error().message();
  change(*parts);
  machine_ = std::make_unique<Machine>(*std::move(parts));
  machine_->Resume();
}

MachineEnd MachineFixture::WaitForEnd() {
  pollfd ended{machine_->end_fd(), POLLIN, 0};
  ::poll(&ended, 1, kMostMilliseconds);
  machine_->Stop();
  return *machine_->end();
}

MachineEnd MachineFixture::Run(MachineConfig config) {
  Start(std::move(config));
  if (machine_ == nullptr) return {EndReason::kHostError, "did not boot"};
  return WaitForEnd();
}

MachineEnd MachineFixture::Run(const std::string& guest, const std::string& command_line) {
  return Run(ConfigFor(guest, command_line));
}

std::string MachineFixture::output() const { return ReadBack("console"); }

bool MachineFixture::WaitForOutput(std::string_view text) const {
  for (int waited = 0; waited < kMostMilliseconds; waited += 5) {
    if (output().find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

std::string MachineFixture::PathFor(const std::string& name) const {
  return directory_ + "/" + name;
}

void MachineFixture::WriteFile(const std::string& name, std::string_view contents) const {
  std::ofstream(PathFor(name), std::ios::binary)
      .write(contents.data(), static_cast<std::streamsize>(contents.size()));
}

std::string MachineFixture::ReadBack(const std::string& name) const {
  std::ifstream file(PathFor(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace mayfly
