#include "devices/virtio/vsock/connect_request.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

TEST(ConnectRequestTest, PortIsDecimalOf32Bits) {
  EXPECT_EQ(ParseConnectRequest("CONNECT 52"), 52);
  EXPECT_EQ(ParseConnectRequest("CONNECT 4294967295"), 4294967295);
  EXPECT_EQ(ParseConnectRequest("CONNECT 4294967296"), std::nullopt);
}

TEST(ConnectRequestTest, AnythingElseIsRefused) {
  EXPECT_EQ(ParseConnectRequest(""), std::nullopt);
  EXPECT_EQ(ParseConnectRequest("CONNECT "), std::nullopt);
  EXPECT_EQ(ParseConnectRequest("connect 52"), std::nullopt);
  EXPECT_EQ(ParseConnectRequest("CONNECT  52"), std::nullopt);
  EXPECT_EQ(ParseConnectRequest("CONNECT -1"), std::nullopt);
  EXPECT_EQ(ParseConnectRequest("CONNECT 52\r"), std::nullopt);
  EXPECT_EQ(ParseConnectRequest("CONNECT 0x34"), std::nullopt);
}

}  // namespace
}  // namespace mayfly
