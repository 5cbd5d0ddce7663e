#include <gtest/gtest.h>

#include "snapshot/decoder.h"
#include "snapshot/encoder.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

struct Inner {
  uint16_t number = 0;
  bool flag = false;

  bool operator==(const Inner&) const = default;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("number", &Inner::number);
    visit("flag", &Inner::flag);
  }
};

struct Outer {
  uint32_t first = 0;
  std::string text;
  std::array<uint8_t, 2> pair{};
  std::vector<Inner> inners;

  bool operator==(const Outer&) const = default;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("first", &Outer::first);
    visit("text", &Outer::text);
    visit("pair", &Outer::pair);
    visit("inners", &Outer::inners);
  }
};

Outer Value() { return {0x04030201, "ab", {7, 8}, {{0x0605, true}, {9, false}}}; }
Bytes Encoded() { return {1, 2, 3, 4, 2, 0, 0, 0, 'a', 'b', 7, 8, 2, 0, 0, 0, 5, 6, 1, 9, 0, 0}; }

template <class T>
Bytes Encode(const T& value) {
  Encoder encoder;
  encoder.Put(value);
  return encoder.Take();
}

template <class T>
Result<T> Decode(const Bytes& bytes) {
  Decoder decoder(bytes);
  T value{};
  TRY(decoder.Get(value));
  TRY(decoder.Finish());
  return value;
}

TEST(EncodingTest, FieldsStandInOrderAndLittleEndian) { EXPECT_EQ(Encode(Value()), Encoded()); }

TEST(EncodingTest, DecoderReturnsWhatWasEncoded) { EXPECT_EQ(*Decode<Outer>(Encoded()), Value()); }

TEST(EncodingTest, KernelStructuresAreTheirBytes) {
  kvm_msr_entry msr{};
  msr.index = 0x10;
  msr.data = 0xff;
  const Bytes bytes = Encode(msr);
  EXPECT_EQ(bytes, (Bytes{0x10, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(Decode<kvm_msr_entry>(bytes)->data, 0xffu);
}

TEST(EncodingTest, BoolsAreZeroOrOne) {
  EXPECT_EQ(Decode<bool>({1}), true);
  EXPECT_EQ(CodeOf(Decode<bool>({2})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Decode<bool>({0x80})), ErrorCode::kCorrupt);
}

TEST(EncodingTest, DataThatEndsTooEarlyIsRefusedAtEveryLength) {
  const Bytes encoded = Encoded();
  for (size_t size = 0; size < encoded.size(); ++size) {
    const Bytes cut(encoded.begin(), encoded.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(CodeOf(Decode<Outer>(cut)), ErrorCode::kCorrupt) << size;
  }
}

TEST(EncodingTest, BytesThatAreLeftAreRefused) {
  Bytes bytes = Encoded();
  bytes.push_back(0);
  EXPECT_TRUE(Mentions(MessageOf(Decode<Outer>(bytes)), "1 bytes too many"));
}

// Not even the smallest elements could be there, so nothing is allocated for them.
TEST(EncodingTest, CountsLargerThanWhatIsLeftAreRefused) {
  const Bytes four_bytes_left{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4};
  EXPECT_TRUE(Mentions(MessageOf(Decode<Bytes>(four_bytes_left)),
                       "4294967295 elements, but 4 bytes are left"));
  EXPECT_EQ(CodeOf(Decode<std::string>(four_bytes_left)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Decode<std::vector<Inner>>(four_bytes_left)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Decode<Bytes>({5, 0, 0, 0, 1, 2, 3, 4})), ErrorCode::kCorrupt);
}

TEST(EncodingTest, ErrorsNameTheFieldFromTheOutsideIn) {
  Bytes bytes = Encoded();
  bytes[18] = 3;
  EXPECT_EQ(MessageOf(Decode<Outer>(bytes)), "inners: [0]: flag: 3 is neither 0 nor 1");
}

}  // namespace
}  // namespace mayfly
