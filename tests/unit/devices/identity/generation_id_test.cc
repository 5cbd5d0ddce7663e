#include "devices/identity/generation_id.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_queue.h"

namespace mayfly {
namespace {

constexpr GuestAddress kAddress{0x100};
constexpr GenerationGuid kFirst{1, 2, 3};
constexpr GenerationGuid kSecond{4, 5, 6};

class GenerationIdTest : public testing::Test {
 protected:
  Result<std::unique_ptr<GenerationId>> Create(GuestAddress address) {
    return GenerationId::Create({memory_.get(), address, &line_}, GenerationIdState{kFirst});
  }
  GenerationGuid InMemory() {
    GenerationGuid guid{};
    EXPECT_TRUE(memory_->Read(kAddress, guid));
    return guid;
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(1 << 20);
  FakeInterruptLine line_;
};

TEST_F(GenerationIdTest, StandsInMemoryBeforeTheGuestRuns) {
  const auto id = *Create(kAddress);
  EXPECT_EQ(InMemory(), kFirst);
  EXPECT_EQ(line_.raised, 0);
}

TEST_F(GenerationIdTest, NewGenerationIsWrittenAndTold) {
  const auto id = *Create(kAddress);

  id->Set(kSecond);

  EXPECT_EQ(InMemory(), kSecond);
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(id->Save(), GenerationIdState{kSecond});
}

// What the guest writes there is its own affair.
TEST_F(GenerationIdTest, GuestDoesNotChangeWhatIsSaved) {
  const auto id = *Create(kAddress);
  ASSERT_TRUE(memory_->Write(kAddress, kSecond));
  EXPECT_EQ(id->Save(), GenerationIdState{kFirst});
}

TEST_F(GenerationIdTest, AddressMustBeAlignedMemory) {
  EXPECT_FALSE(Create(GuestAddress{0x104}));
  EXPECT_FALSE(Create(GuestAddress{(1 << 20) - 8}));
}

TEST_F(GenerationIdTest, NewGuidsDifferAndAreOfVersion4) {
  const GenerationGuid guid = *GenerationId::NewGuid();
  EXPECT_NE(guid, *GenerationId::NewGuid());
  EXPECT_EQ(guid[7] >> 4, 4);
  EXPECT_EQ(guid[8] >> 6, 2);
}

}  // namespace
}  // namespace mayfly
