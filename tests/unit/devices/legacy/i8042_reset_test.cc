#include "devices/legacy/i8042_reset.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_power_events.h"
#include "tests/unit/devices/legacy/bus_access.h"

namespace mayfly {
namespace {

class I8042ResetTest : public ::testing::Test {
 protected:
  FakePowerEvents events_;
  I8042Reset device_{&events_};
};

TEST_F(I8042ResetTest, PulseOfTheResetLineResets) {
  Write8(device_, 0, I8042Reset::kPulseReset);
  EXPECT_EQ(events_.resets, 1);
}

TEST_F(I8042ResetTest, OtherCommandsAndWiderAccessesDoNothing) {
  Write8(device_, 0, 0xff);
  device_.Write(0, Bytes{I8042Reset::kPulseReset, 0});
  EXPECT_EQ(events_.resets, 0);
}

TEST_F(I8042ResetTest, StatusSaysReadyForACommand) { EXPECT_EQ(Read8(device_, 0), 0); }

}  // namespace
}  // namespace mayfly
