#include "vmm/machine/vcpu_exit.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace mayfly {
namespace {

kvm_run ExitFor(uint32_t reason) {
  kvm_run run{};
  run.exit_reason = reason;
  return run;
}

EndReason ReasonFor(const kvm_run& run) {
  const auto end = EndOf(run, 0);
  return end ? end->reason : EndReason::kStopped;
}

TEST(VcpuExitTest, InterruptionsGoOn) {
  EXPECT_FALSE(EndOf(ExitFor(KVM_EXIT_INTR), 0));
  EXPECT_FALSE(EndOf(ExitFor(KVM_EXIT_IOAPIC_EOI), 0));
}

// Case 45.
TEST(VcpuExitTest, ShutdownIsATripleFault) {
  EXPECT_EQ(ReasonFor(ExitFor(KVM_EXIT_SHUTDOWN)), EndReason::kTripleFault);
}

TEST(VcpuExitTest, InternalErrorNamesItsSuberror) {
  kvm_run run = ExitFor(KVM_EXIT_INTERNAL_ERROR);
  run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;

  const auto end = EndOf(run, 3);

  ASSERT_TRUE(end);
  EXPECT_EQ(end->reason, EndReason::kInternalError);
  EXPECT_EQ(end->detail, "vCPU 3, suberror 1");
}

// Case 46.
TEST(VcpuExitTest, FailedEntryNamesTheHardwaresReason) {
  kvm_run run = ExitFor(KVM_EXIT_FAIL_ENTRY);
  run.fail_entry.hardware_entry_failure_reason = 0x80000021;

  const auto end = EndOf(run, 1);

  ASSERT_TRUE(end);
  EXPECT_EQ(end->reason, EndReason::kInternalError);
  EXPECT_EQ(end->detail, "vCPU 1 could not enter the guest, hardware reason 0x80000021");
}

TEST(VcpuExitTest, ExitsThatNobodyAskedForEndTheMachine) {
  EXPECT_EQ(ReasonFor(ExitFor(KVM_EXIT_HLT)), EndReason::kUnknownExit);
  EXPECT_EQ(ReasonFor(ExitFor(KVM_EXIT_DEBUG)), EndReason::kUnknownExit);
  EXPECT_EQ(ReasonFor(ExitFor(KVM_EXIT_X86_RDMSR)), EndReason::kUnknownExit);
  EXPECT_EQ(ReasonFor(ExitFor(KVM_EXIT_UNKNOWN)), EndReason::kUnknownExit);
  EXPECT_EQ(ReasonFor(ExitFor(0xffffffff)), EndReason::kUnknownExit);
}

TEST(VcpuExitTest, SystemEventsAreShutdownOrReset) {
  kvm_run run = ExitFor(KVM_EXIT_SYSTEM_EVENT);
  run.system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
  EXPECT_EQ(ReasonFor(run), EndReason::kPowerOff);
  run.system_event.type = KVM_SYSTEM_EVENT_RESET;
  EXPECT_EQ(ReasonFor(run), EndReason::kReset);
}

// Case 47, as hosts with hardware support report it.
TEST(VcpuExitTest, FaultOfKvmRunIsALostPage) {
  const Error error = Error::FromErrno("KVM_RUN on vCPU 0", EFAULT);
  EXPECT_EQ(EndOf(error).reason, EndReason::kMemoryIntegrity);
}

TEST(VcpuExitTest, OtherFailuresOfKvmRunAreTheHosts) {
  const Error error = Error::FromErrno("KVM_RUN on vCPU 0", EINVAL);
  EXPECT_EQ(EndOf(error).reason, EndReason::kHostError);
  EXPECT_EQ(EndOf(error).detail, "KVM_RUN on vCPU 0: Invalid argument");
}

}  // namespace
}  // namespace mayfly
