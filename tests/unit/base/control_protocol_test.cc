#include "base/control_protocol.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace mayfly::control {
namespace {

using Bytes = std::vector<uint8_t>;

// The error with which these bytes are refused, or "".
std::string Refusal(const Bytes& bytes) {
  FrameReader reader;
  reader.Append(bytes);
  const auto frame = reader.Next();
  return frame ? "" : frame.error().message();
}

Bytes Header(const FrameHeader& header) {
  const auto bytes = BytesOf(header);
  return {bytes.begin(), bytes.end()};
}

TEST(ControlProtocolTest, HeaderIsLittleEndian) {
  EXPECT_EQ(Encode(FrameType::kInvoke, 0x0102, Bytes{0xee}),
            (Bytes{1, 0, 0, 0, 4, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0xee}));
}

TEST(ControlProtocolTest, FrameRoundTrips) {
  FrameReader reader;
  reader.Append(Encode(FrameType::kDone, 7, Bytes{1, 2, 3}));

  const auto frame = reader.Next();

  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->type, FrameType::kDone);
  EXPECT_EQ((*frame)->invocation, 7);
  EXPECT_EQ((*frame)->payload, (Bytes{1, 2, 3}));
  EXPECT_EQ(*reader.Next(), std::nullopt);
}

TEST(ControlProtocolTest, LargestPayloadRoundTrips) {
  FrameReader reader;
  reader.Append(Encode(FrameType::kChunk, 1, Bytes(kMaxPayload, 5)));
  EXPECT_EQ((**reader.Next()).payload.size(), kMaxPayload);
}

TEST(ControlProtocolTest, FrameArrivesByteByByte) {
  const Bytes bytes = Encode(FrameType::kLog, 1, Bytes{9});
  FrameReader reader;
  for (size_t i = 0; i + 1 < bytes.size(); ++i) {
    reader.Append(std::span(bytes).subspan(i, 1));
    ASSERT_EQ(*reader.Next(), std::nullopt);
  }

  reader.Append(std::span(bytes).last(1));

  EXPECT_EQ((**reader.Next()).payload, Bytes{9});
}

TEST(ControlProtocolTest, SeveralFramesInOnePiece) {
  Bytes bytes = Encode(FrameType::kChunk, 1, Bytes{1});
  const Bytes second = Encode(FrameType::kDone, 1, {});
  bytes.insert(bytes.end(), second.begin(), second.end());
  bytes.push_back(0);
  FrameReader reader;
  reader.Append(bytes);

  EXPECT_EQ((**reader.Next()).type, FrameType::kChunk);
  EXPECT_EQ((**reader.Next()).type, FrameType::kDone);
  EXPECT_EQ(*reader.Next(), std::nullopt);
}

TEST(ControlProtocolTest, UnknownTypesAreRefused) {
  EXPECT_EQ(Refusal(Header({0, 0, 0, 0})), "control channel: unknown frame type 0");
  EXPECT_EQ(Refusal(Header({0, 12, 0, 0})), "control channel: unknown frame type 12");
}

TEST(ControlProtocolTest, ReservedBitsAreRefused) { EXPECT_NE(Refusal(Header({0, 1, 1, 0})), ""); }

TEST(ControlProtocolTest, LengthIsRefusedBeforeItsBytesArrive) {
  EXPECT_EQ(Refusal(Header({kMaxPayload + 1, 5, 0, 0})),
            "control channel: a frame of 65537 bytes is too long");
  EXPECT_NE(Refusal(Header({UINT32_MAX, 5, 0, 0})), "");
}

}  // namespace
}  // namespace mayfly::control
