#include "vmm/config/overrides.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

TEST(ParseOverridesTest, EachIdentityHasAKey) {
  const auto overrides =
      ParseOverrides({"net0.mac=02:00:00:00:00:07", "net7.mac=02:00:00:00:00:08", "vsock.cid=9",
                      "generation=00112233-4455-6677-8899-aabbccddeeff",
                      "entropy=" + std::string(126, '0') + "fE"});
  ASSERT_TRUE(overrides) << overrides.error().message();
  EXPECT_EQ(overrides->macs.at(0), (MacAddress{2, 0, 0, 0, 0, 7}));
  EXPECT_EQ(overrides->macs.at(7), (MacAddress{2, 0, 0, 0, 0, 8}));
  EXPECT_EQ(overrides->cid, 9u);
  EXPECT_EQ(overrides->generation->at(1), 0x11);
  EXPECT_EQ(overrides->generation->at(15), 0xff);
  EXPECT_EQ(overrides->entropy->at(0), 0);
  EXPECT_EQ(overrides->entropy->at(63), 0xfe);
}

TEST(ParseOverridesTest, NoneLeaveEverythingAsItIs) { EXPECT_EQ(*ParseOverrides({}), Overrides{}); }

TEST(ParseOverridesTest, OtherKeysAreRefused) {
  const std::string expected = ": expected netN.mac, vsock.cid, generation or entropy, with =VALUE";
  EXPECT_EQ(MessageOf(ParseOverrides({"cid=3"})), "cid" + expected);
  EXPECT_EQ(MessageOf(ParseOverrides({"net8.mac=02:00:00:00:00:07"})), "net8.mac" + expected);
  EXPECT_EQ(MessageOf(ParseOverrides({""})), expected);
}

TEST(ParseOverridesTest, OtherValuesAreRefused) {
  EXPECT_EQ(MessageOf(ParseOverrides({"generation=0011"})),
            "generation: \"0011\": expected 32 hexadecimal digits");
  EXPECT_FALSE(ParseOverrides({"entropy=" + std::string(127, '0') + "g"}));
  EXPECT_FALSE(ParseOverrides({"vsock.cid=2"}));
  EXPECT_FALSE(ParseOverrides({"vsock.cid=4294967295"}));
  EXPECT_FALSE(ParseOverrides({"vsock.cid=5 "}));
  EXPECT_FALSE(ParseOverrides({"vsock.cid"}));
  EXPECT_FALSE(ParseOverrides({"net0.mac=01:00:00:00:00:00"}));
}

}  // namespace
}  // namespace mayfly
