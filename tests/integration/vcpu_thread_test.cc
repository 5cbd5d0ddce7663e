#include "vmm/machine/vcpu_thread.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "vmm/kvm/kvm.h"

namespace mayfly {
namespace {

// One vCPU in real mode, without an interrupt controller and without devices.
class VcpuThreadTest : public testing::Test {
 protected:
  static constexpr GuestAddress kCode{0x1000};

  void SetUp() override {
    auto kvm = Kvm::Open();
    if (!kvm) GTEST_SKIP() << kvm.error().message();
    vm_.emplace(kvm->CreateVm().value());
    ASSERT_TRUE(vm_->SetMemoryRegion(0, memory_->regions().front()));
  }

  // A vCPU that stands before `code`.
  std::unique_ptr<VcpuThread> ThreadFor(std::initializer_list<uint8_t> code) {
    const std::vector<uint8_t> bytes(code);
    EXPECT_TRUE(memory_->Write(kCode, bytes));
    Vcpu vcpu = vm_->CreateVcpu(0).value();
    kvm_sregs system = vcpu.GetSystemRegisters().value();
    system.cs.base = 0;
    system.cs.selector = 0;
    kvm_regs registers{};
    registers.rip = kCode.value;
    registers.rflags = 2;
    EXPECT_TRUE(vcpu.SetSystemRegisters(system));
    EXPECT_TRUE(vcpu.SetRegisters(registers));
    return VcpuThread::Create(std::move(vcpu), {&bus_, &bus_, memory_.get(), end_.get()});
  }

  // Runs `code` until the machine ends.
  MachineEnd Run(std::initializer_list<uint8_t> code) {
    const auto thread = ThreadFor(code);
    thread->Resume();
    pollfd ended{end_->fd(), POLLIN, 0};
    ::poll(&ended, 1, 10'000);
    thread->Stop();
    return end_->Get().value_or(MachineEnd{EndReason::kStopped, "did not end"});
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(1 << 20);
  std::unique_ptr<EndLatch> end_ = *EndLatch::Create();
  Bus bus_;
  std::optional<Vm> vm_;
};

// Case 46. Without an interrupt controller in KVM, a halt leaves the guest: no machine of ours has
// asked for that.
TEST_F(VcpuThreadTest, UnknownExitEndsTheMachine) {
  const MachineEnd end = Run({0xf4});  // hlt
  EXPECT_EQ(end.reason, EndReason::kUnknownExit);
  EXPECT_EQ(end.detail, "vCPU 0, exit reason 5");
}

// A port whose write waits until the vCPU's thread is being stopped, and then asks for a pause.
class PauseWhileStopped final : public BusDevice {
 public:
  void Read(uint64_t, std::span<uint8_t>) override {}
  void Write(uint64_t, std::span<const uint8_t>) override {
    if (thread_ == nullptr) return;
    written_.set_value();
    stopping_.get_future().wait();
    // Stop() has had time to say so.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::exchange(thread_, nullptr)->RequestPause(VcpuThread::Kick::kYes);
  }

  std::promise<void> written_;
  std::promise<void> stopping_;
  VcpuThread* thread_ = nullptr;
};

TEST_F(VcpuThreadTest, APauseThatTheGuestAsksForDoesNotUndoAStop) {
  PauseWhileStopped port;
  ASSERT_TRUE(bus_.Insert(0x10, 1, &port));
  const auto thread = ThreadFor({0xe6, 0x10, 0xeb, 0xfc});  // out 0x10, al; jmp back
  port.thread_ = thread.get();
  thread->Resume();
  port.written_.get_future().wait();
  port.stopping_.set_value();
  thread->Stop();
  EXPECT_FALSE(end_->Get());
}

}  // namespace
}  // namespace mayfly
