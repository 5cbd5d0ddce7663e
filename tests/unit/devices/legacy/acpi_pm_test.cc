#include "devices/legacy/acpi_pm.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_power_events.h"
#include "tests/unit/devices/legacy/bus_access.h"

namespace mayfly {
namespace {

// SLP_EN, and a sleep type in SLP_TYP's place.
constexpr uint8_t Sleep(uint8_t type) { return static_cast<uint8_t>(1 << 5 | type << 2); }

class AcpiPmTest : public ::testing::Test {
 protected:
  FakePowerEvents events_;
  AcpiPm device_{&events_};
};

TEST_F(AcpiPmTest, SleepTypeS5PowersOff) {
  device_.Write(AcpiPm::kSleepControl, Bytes{Sleep(AcpiPm::kSleepTypeS5)});
  EXPECT_EQ(events_.power_offs, 1);
  EXPECT_EQ(events_.resets, 0);
}

TEST_F(AcpiPmTest, OtherSleepTypesAndS5WithoutEnableDoNothing) {
  device_.Write(AcpiPm::kSleepControl, Bytes{Sleep(0)});
  device_.Write(AcpiPm::kSleepControl, Bytes{AcpiPm::kSleepTypeS5 << 2});
  device_.Write(AcpiPm::kSleepStatus, Bytes{Sleep(AcpiPm::kSleepTypeS5)});
  EXPECT_EQ(events_.power_offs, 0);
}

TEST_F(AcpiPmTest, ResetValueResetsAndNoOtherDoes) {
  device_.Write(AcpiPm::kReset, Bytes{0});
  device_.Write(AcpiPm::kReset, Bytes{AcpiPm::kResetValue + 1});
  EXPECT_EQ(events_.resets, 0);
  device_.Write(AcpiPm::kReset, Bytes{AcpiPm::kResetValue});
  EXPECT_EQ(events_.resets, 1);
}

TEST_F(AcpiPmTest, WiderAccessesWriteNothing) {
  device_.Write(AcpiPm::kSleepControl, Bytes{Sleep(AcpiPm::kSleepTypeS5), 0});
  EXPECT_EQ(events_.power_offs, 0);
}

TEST_F(AcpiPmTest, RegistersReadZero) {
  EXPECT_EQ(ReadBytes(device_, AcpiPm::kSleepControl, 1), Bytes{0});
  EXPECT_EQ(ReadBytes(device_, AcpiPm::kSleepStatus, 2), (Bytes{0, 0}));
}

}  // namespace
}  // namespace mayfly
