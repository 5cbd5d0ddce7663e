#include "tests/integration/hostile_fixture.h"

// What a hostile guest does to a device's queues and registers, on KVM; docs/hostile-guest.md has
// the numbers and what must come of each. The guest's part is in guests/hostile_*.c.
namespace mayfly {
namespace {

class HostileTest : public HostileFixture, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Device, HostileTest, testing::Values("blk", "net", "rng", "vsock"),
                         [](const auto& device) { return std::string(device.param); });

// Case 1.
TEST_P(HostileTest, DescriptorThatFollowsItselfBreaksItsDeviceOnly) {
  Abuse("self-loop", GetParam());
}

TEST_P(HostileTest, CycleOfDescriptorsBreaksItsDeviceOnly) { Abuse("cycle", GetParam()); }

// Case 2.
TEST_P(HostileTest, NextBeyondTheTableBreaksItsDeviceOnly) {
  Abuse("next-beyond-table", GetParam());
}

// Case 3.
TEST_P(HostileTest, HeadBeyondTheTableBreaksItsDeviceOnly) {
  Abuse("head-beyond-table", GetParam());
}

// Case 4.
TEST_P(HostileTest, BufferOutsideMemoryBreaksItsDeviceOnly) {
  Abuse("buffer-outside-memory", GetParam());
}

TEST_P(HostileTest, BufferOnRegistersBreaksItsDeviceOnly) {
  Abuse("buffer-on-registers", GetParam());
}

// Case 5.
TEST_P(HostileTest, BufferThatWrapsBreaksItsDeviceOnly) { Abuse("buffer-wraps", GetParam()); }

// Case 6.
TEST_P(HostileTest, BufferAcrossTheEndOfMemoryIsNotTouchedAtAll) {
  Abuse("buffer-straddles-end", GetParam());
}

// Case 7.
TEST_P(HostileTest, ChainOf4GiBBreaksItsDeviceOnly) { Abuse("chain-of-4-gib", GetParam()); }

// Case 8.
TEST_P(HostileTest, IndirectDescriptorsBreakTheirDeviceOnly) { Abuse("indirect", GetParam()); }

// Case 9.
TEST_P(HostileTest, WritableBeforeReadableBreaksItsDeviceOnly) {
  Abuse("writable-first", GetParam());
}

TEST_P(HostileTest, ReadableBufferIsNeverWritten) { Abuse("readable-stays", GetParam()); }

// Case 10.
TEST_P(HostileTest, ChainWithoutBytesIsReturned) { Abuse("zero-length", GetParam()); }

// Case 11.
TEST_P(HostileTest, ImpossibleQueueSizesAreRefused) { Abuse("queue-sizes", GetParam()); }

// Case 12.
TEST_P(HostileTest, UnalignedRingsAreRefused) { Abuse("unaligned-rings", GetParam()); }

TEST_P(HostileTest, RingsOutsideMemoryAreRefused) { Abuse("rings-outside-memory", GetParam()); }

TEST_P(HostileTest, OverlappingRingsHurtNobody) { Abuse("overlapping-rings", GetParam()); }

// Case 13.
TEST_P(HostileTest, RingsAtNullHurtNobody) { Abuse("null-rings", GetParam()); }

TEST_P(HostileTest, LiveQueueCannotBeMoved) { Abuse("frozen-queue", GetParam()); }

// Case 14.
TEST_P(HostileTest, QueueThatIsNotThereCannotBeSetUp) { Abuse("queue-select", GetParam()); }

// Case 15.
TEST_P(HostileTest, AvailIndexThatJumpsBreaksItsDeviceOnly) { Abuse("index-jumps", GetParam()); }

TEST_P(HostileTest, AvailIndexThatGoesBackBreaksItsDeviceOnly) {
  Abuse("index-goes-back", GetParam());
}

TEST_P(HostileTest, AvailIndexMayWrap) { Abuse("index-wraps", GetParam()); }

// Case 16.
TEST_P(HostileTest, RequestRewrittenByAnotherVcpuIsServedOrRefused) {
  AbuseFromTwoVcpus("racing-request", GetParam());
}

// Case 17.
TEST_P(HostileTest, UsedRingWrittenByAnotherVcpuIsNotReadBack) {
  AbuseFromTwoVcpus("racing-used-ring", GetParam());
}

// Case 18.
TEST_P(HostileTest, KicksForNothingDoNothing) { Abuse("kick-storm", GetParam()); }

// Case 19.
TEST_P(HostileTest, InterruptsThatNobodyTakesHurtNobody) {
  Abuse("interrupts-ignored", GetParam());
}

TEST_P(HostileTest, RandomUsedEventLosesNoAnswer) { Abuse("random-used-event", GetParam()); }

// Case 20.
TEST_P(HostileTest, ConfigSpaceTakesAnyAccess) { Abuse("config-space", GetParam()); }

// Case 21.
TEST_P(HostileTest, RegistersIgnoreWhatIsNoAlignedWord) { Abuse("access-sizes", GetParam()); }

// Case 22.
TEST_P(HostileTest, StatusTakesLegalStepsOnly) { Abuse("status-steps", GetParam()); }

// Case 23.
TEST_P(HostileTest, FailedDeviceIgnoresAllButAReset) { Abuse("failed", GetParam()); }

// Case 24.
TEST_P(HostileTest, ResetWithRequestsInFlightIsFinal) { Abuse("reset-in-flight", GetParam()); }

TEST_P(HostileTest, ResetsByAnotherVcpuHurtNobody) {
  AbuseFromTwoVcpus("racing-reset", GetParam());
}

}  // namespace
}  // namespace mayfly
