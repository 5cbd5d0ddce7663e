#include "devices/legacy/ioapic.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/devices/legacy/bus_access.h"

namespace mayfly {
namespace {

// Register numbers and offsets of the 82093AA data sheet.
constexpr uint64_t kSelect = 0x00;
constexpr uint64_t kWindow = 0x10;
constexpr uint32_t kId = 0x00;
constexpr uint32_t kVersion = 0x01;
constexpr uint32_t kArbitration = 0x02;
constexpr uint32_t kMasked = 1 << 16;

constexpr uint32_t EntryLow(unsigned pin) { return 0x10 + 2 * pin; }
constexpr uint32_t EntryHigh(unsigned pin) { return 0x11 + 2 * pin; }

class FakeIoapicSink final : public IoapicSink {
 public:
  void RouteChanged(unsigned pin, std::optional<MsiMessage> message) override {
    routes[pin] = message;
    ++changes;
  }
  std::map<unsigned, std::optional<MsiMessage>> routes;
  int changes = 0;
};

class IoapicTest : public ::testing::Test {
 protected:
  uint32_t ReadRegister(uint32_t index) {
    Write32(*ioapic_, kSelect, index);
    return Read32(*ioapic_, kWindow);
  }
  void WriteRegister(uint32_t index, uint32_t value) {
    Write32(*ioapic_, kSelect, index);
    Write32(*ioapic_, kWindow, value);
  }
  // The message with which a state is refused, or "" if it is not.
  std::string Refusal(const IoapicState& state) {
    const auto result = Ioapic::Create({&sink_}, state);
    return result ? "" : result.error().message();
  }

  FakeIoapicSink sink_;
  std::unique_ptr<Ioapic> ioapic_ = *Ioapic::Create({&sink_});
};

// Registers.

TEST_F(IoapicTest, StartsWithEveryPinMasked) {
  EXPECT_EQ(sink_.routes.size(), IoapicState::kPins);
  EXPECT_EQ(sink_.routes.at(0), std::nullopt);
  EXPECT_EQ(ReadRegister(EntryLow(23)), kMasked);
}

TEST_F(IoapicTest, VersionTellsOfItsPins) { EXPECT_EQ(ReadRegister(kVersion), 0x0017'0011); }

TEST_F(IoapicTest, PinsThatAreNotThereReadZeroAndCannotBeUsed) {
  ioapic_ = *Ioapic::Create({&sink_, 8});
  EXPECT_EQ(ReadRegister(kVersion), 0x0007'0011);
  WriteRegister(EntryLow(8), 0x31);
  EXPECT_EQ(ReadRegister(EntryLow(8)), 0u);
  EXPECT_EQ(sink_.routes[8], std::nullopt);
  WriteRegister(EntryLow(7), 0x31);
  EXPECT_NE(sink_.routes[7], std::nullopt);
}

TEST_F(IoapicTest, AStateThatUsesAPinThatIsNotThereIsRefused) {
  IoapicState state = Ioapic::ResetState();
  state.entries[8] = 0x31;
  const auto result = Ioapic::Create({&sink_, 8}, state);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("entries[8]"), std::string::npos);
}

TEST_F(IoapicTest, SelectKeepsEightBits) {
  Write32(*ioapic_, kSelect, 0x1234'5601);
  EXPECT_EQ(Read32(*ioapic_, kSelect), 0x01);
}

TEST_F(IoapicTest, IdIsWhereTheDataSheetHasIt) {
  WriteRegister(kId, 0xffff'ffff);
  EXPECT_EQ(ReadRegister(kId), 0x0f00'0000);
  EXPECT_EQ(ReadRegister(kArbitration), 0x0f00'0000);
}

TEST_F(IoapicTest, ReadOnlyAndUnknownRegistersIgnoreWrites) {
  WriteRegister(kVersion, 0);
  WriteRegister(0x0f, 0xffff'ffff);
  WriteRegister(EntryHigh(23) + 1, 0xffff'ffff);
  EXPECT_EQ(ReadRegister(kVersion), 0x0017'0011);
  EXPECT_EQ(ReadRegister(0x0f), 0);
  EXPECT_EQ(ReadRegister(EntryHigh(23) + 1), 0);
}

TEST_F(IoapicTest, AccessesOfOtherSizesReadZeroAndWriteNothing) {
  ioapic_->Write(kSelect, Bytes{kVersion});
  EXPECT_EQ(Read32(*ioapic_, kSelect), 0);
  EXPECT_EQ(ReadBytes(*ioapic_, kWindow, 8), Bytes(8, 0));
  EXPECT_EQ(ReadBytes(*ioapic_, kSelect, 1), Bytes{0});
}

TEST_F(IoapicTest, OffsetsBetweenTheRegistersReadZero) {
  Write32(*ioapic_, 4, 1);
  EXPECT_EQ(Read32(*ioapic_, 4), 0);
  EXPECT_EQ(Read32(*ioapic_, kSelect), 0);
}

// Routes.

TEST_F(IoapicTest, UnmaskedEntryBecomesAMessage) {
  WriteRegister(EntryHigh(5), 3U << 24);
  WriteRegister(EntryLow(5), 0x0000'0931);  // Logical, lowest priority, vector 0x31.
  EXPECT_EQ(sink_.routes.at(5), (MsiMessage{0xfee0'3004, 0x131}));
}

TEST_F(IoapicTest, PhysicalDestinationHasNoLogicalBit) {
  WriteRegister(EntryLow(4), 0x24);
  EXPECT_EQ(sink_.routes.at(4), (MsiMessage{0xfee0'0000, 0x24}));
}

TEST_F(IoapicTest, MaskingTakesTheRouteAway) {
  WriteRegister(EntryLow(5), 0x31);
  WriteRegister(EntryLow(5), kMasked | 0x31);
  EXPECT_EQ(sink_.routes.at(5), std::nullopt);
}

TEST_F(IoapicTest, WritingTheSameEntryAgainChangesNoRoute) {
  WriteRegister(EntryLow(5), 0x31);
  const int changes = sink_.changes;
  WriteRegister(EntryLow(5), 0x31);
  EXPECT_EQ(sink_.changes, changes);
}

TEST_F(IoapicTest, StatusBitsOfAnEntryAreReadOnly) {
  WriteRegister(EntryLow(0), 0xffff'ffff);
  WriteRegister(EntryHigh(0), 0xffff'ffff);
  EXPECT_EQ(ReadRegister(EntryLow(0)), 0x0001'afff);
  EXPECT_EQ(ReadRegister(EntryHigh(0)), 0xff00'0000);
}

// State.

TEST_F(IoapicTest, StateSurvivesARoundTrip) {
  WriteRegister(kId, 0x0300'0000);
  WriteRegister(EntryLow(5), 0x31);
  const IoapicState saved = ioapic_->Save();

  FakeIoapicSink sink;
  const auto restored = *Ioapic::Create({&sink}, saved);

  EXPECT_EQ(restored->Save(), saved);
  EXPECT_EQ(sink.routes.at(5), (MsiMessage{0xfee0'0000, 0x31}));
}

TEST_F(IoapicTest, StateWithASelectorOfNineBitsIsRefused) {
  IoapicState state = Ioapic::ResetState();
  state.selected = 0x100;
  EXPECT_EQ(Refusal(state), "ioapic: selected: 0x100");
}

TEST_F(IoapicTest, StateWithAnImpossibleIdIsRefused) {
  IoapicState state = Ioapic::ResetState();
  state.id = 1;
  EXPECT_EQ(Refusal(state), "ioapic: id: 0x1");
}

TEST_F(IoapicTest, StateWithAReadOnlyBitInAnEntryIsRefused) {
  IoapicState state = Ioapic::ResetState();
  state.entries[7] = 1 << 12;
  EXPECT_EQ(Refusal(state), "ioapic: entries[7]: 0x1000");
}

}  // namespace
}  // namespace mayfly
