#include "devices/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace mayfly {
namespace {

// Remembers the last access, and reads as the byte it was given.
class FakeBusDevice final : public BusDevice {
 public:
  explicit FakeBusDevice(uint8_t value) : value_(value) {}
  void Read(uint64_t offset, std::span<uint8_t> bytes) override {
    last_offset = offset;
    std::ranges::fill(bytes, value_);
  }
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override {
    last_offset = offset;
    written.assign(bytes.begin(), bytes.end());
  }

  uint64_t last_offset = 0;
  std::vector<uint8_t> written;

 private:
  uint8_t value_;
};

TEST(BusTest, ReadGoesToTheDeviceWithItsOffset) {
  Bus bus;
  FakeBusDevice low(0x11);
  FakeBusDevice high(0x22);
  ASSERT_TRUE(bus.Insert(0x2000, 0x1000, &high));
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, &low));
  std::array<uint8_t, 2> bytes{};

  EXPECT_TRUE(bus.Read(0x2ffe, bytes));

  EXPECT_EQ(bytes, (std::array<uint8_t, 2>{0x22, 0x22}));
  EXPECT_EQ(high.last_offset, 0xffe);
}

TEST(BusTest, WriteGoesToTheDeviceWithItsOffset) {
  Bus bus;
  FakeBusDevice device(0);
  ASSERT_TRUE(bus.Insert(0x3f8, 8, &device));

  EXPECT_TRUE(bus.Write(0x3f9, std::array<uint8_t, 1>{0x41}));

  EXPECT_EQ(device.last_offset, 1);
  EXPECT_EQ(device.written, std::vector<uint8_t>{0x41});
}

// Case 25.
TEST(BusTest, UnclaimedReadIsAllOnes) {
  Bus bus;
  FakeBusDevice device(0);
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, &device));
  std::array<uint8_t, 4> bytes{};

  EXPECT_FALSE(bus.Read(0xfff, std::span(bytes).first(1)));
  EXPECT_FALSE(bus.Read(0x2000, bytes));
  EXPECT_FALSE(bus.Read(UINT64_MAX, bytes));

  EXPECT_EQ(bytes, (std::array<uint8_t, 4>{0xff, 0xff, 0xff, 0xff}));
}

TEST(BusTest, UnclaimedWriteIsIgnored) {
  const Bus bus;
  EXPECT_FALSE(bus.Write(0x1000, std::array<uint8_t, 4>{}));
}

// Case 20: no device sees an access that reaches beyond its range.
TEST(BusTest, AccessAcrossTheEndOfARangeIsUnclaimed) {
  Bus bus;
  FakeBusDevice low(0x11);
  FakeBusDevice high(0x22);
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, &low));
  ASSERT_TRUE(bus.Insert(0x2000, 0x1000, &high));
  std::array<uint8_t, 8> bytes{};

  EXPECT_FALSE(bus.Read(0x1fff, bytes));
  EXPECT_FALSE(bus.Write(0x1fff, bytes));

  EXPECT_TRUE(low.written.empty());
  EXPECT_TRUE(high.written.empty());
}

TEST(BusTest, InsertRefusesOverlaps) {
  Bus bus;
  FakeBusDevice device(0);
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, &device));

  EXPECT_FALSE(bus.Insert(0x1000, 0x1000, &device));
  EXPECT_FALSE(bus.Insert(0x0fff, 2, &device));
  EXPECT_FALSE(bus.Insert(0x1fff, 1, &device));
  EXPECT_FALSE(bus.Insert(0x0000, 0x10000, &device));
  EXPECT_TRUE(bus.Insert(0x0fff, 1, &device));
  EXPECT_TRUE(bus.Insert(0x2000, 1, &device));
}

TEST(BusTest, InsertRefusesEmptyAndWrappingRanges) {
  Bus bus;
  FakeBusDevice device(0);

  EXPECT_FALSE(bus.Insert(0x1000, 0, &device));
  EXPECT_FALSE(bus.Insert(UINT64_MAX, 2, &device));
}

}  // namespace
}  // namespace mayfly
