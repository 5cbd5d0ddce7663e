#include "tests/guest/machine_in_process.h"

#include <fcntl.h>

#include <fstream>
#include <thread>

#include "base/file.h"
#include "tests/support/memory_use.h"

namespace mayfly {

void MachineInProcess::TearDown() {
  machine_.reset();
  GuestFixture::TearDown();
}

MachineConfig MachineInProcess::ConfigFor(const std::string& script) {
  console_ = OpenFile(PathFor("console"), O_RDWR | O_CREAT | O_APPEND).value();
  MachineConfig config;
  config.kernel = MinimalKernel() + "/vmlinux";
  config.initrd_path = PackInitrd(script);
  config.command_line = kCommandLine;
  config.memory_bytes = 256ULL << 20;
  config.serial_output = console_.get();
  return config;
}

void MachineInProcess::Start(MachineConfig config) {
  auto parts = MachineBuilder(std::move(config), nullptr).Build();
  ASSERT_TRUE(parts) << parts.error().message();
  memory_ = parts->memory.get();
  machine_ = std::make_unique<Machine>(*std::move(parts));
  machine_->Resume();
}

uint64_t MachineInProcess::HeldGuestBytes() const {
  return HeldBytes(memory_->regions().front().host, memory_->size());
}

bool MachineInProcess::WaitForOutput(const std::string& text) const {
  return WaitFor([&] { return output().find(text) != std::string::npos; });
}

bool MachineInProcess::WaitFor(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

std::string MachineInProcess::output() const {
  std::ifstream file(PathFor("console"), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace mayfly
