#include <fcntl.h>
#include <sys/mman.h>

#include "tests/integration/hostile_fixture.h"

// What a hostile guest does to its machine rather than to a device.
namespace mayfly {
namespace {

class HostileMachineTest : public HostileFixture {};

// Case 25.
TEST_F(HostileMachineTest, UnclaimedPortsAndAddressesReadAsAllOnes) { Abuse("unclaimed", "rng"); }

}  // namespace
}  // namespace mayfly
