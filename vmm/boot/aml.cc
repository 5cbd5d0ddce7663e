#include "vmm/boot/aml.h"

#include "base/bytes.h"
#include "base/check.h"

namespace mayfly::aml {
namespace {

// Opcodes and prefixes (ACPI 6.5, table 20.2).
constexpr uint8_t kNameOp = 0x08;
constexpr uint8_t kBytePrefix = 0x0a;
constexpr uint8_t kWordPrefix = 0x0b;
constexpr uint8_t kDWordPrefix = 0x0c;
constexpr uint8_t kStringPrefix = 0x0d;
constexpr uint8_t kQWordPrefix = 0x0e;
constexpr uint8_t kScopeOp = 0x10;
constexpr uint8_t kBufferOp = 0x11;
constexpr uint8_t kPackageOp = 0x12;
constexpr uint8_t kMethodOp = 0x14;
constexpr uint8_t kMethodSerialized = 1 << 3;
constexpr uint8_t kNotifyOp = 0x86;
constexpr uint8_t kExtOpPrefix = 0x5b;
constexpr uint8_t kDeviceOp = 0x82;

void Append(Bytes& to, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) to.push_back(byte);
}

template <class T>
void AppendValue(Bytes& to, T value) {
  Append(to, BytesOf(value));
}

Bytes NameString(std::string_view name) { return {name.begin(), name.end()}; }

// PkgLength (20.2.4) counts its own bytes too.
Bytes WithPackageLength(std::span<const uint8_t> content) {
  Bytes bytes;
  if (content.size() + 1 < 0x40) {
    bytes.push_back(static_cast<uint8_t>(content.size() + 1));
  } else {
    // Two following bytes: 4 bits in the lead byte, then 8 and 8.
    const size_t length = content.size() + 3;
    CHECK(length < (1U << 20));
    bytes.push_back(static_cast<uint8_t>(0x80 | (length & 0xf)));
    bytes.push_back(static_cast<uint8_t>(length >> 4));
    bytes.push_back(static_cast<uint8_t>(length >> 12));
  }
  Append(bytes, content);
  return bytes;
}

Bytes Term(std::initializer_list<uint8_t> opcode, std::span<const uint8_t> content) {
  Bytes bytes(opcode);
  Append(bytes, WithPackageLength(content));
  return bytes;
}

}  // namespace

Bytes Concat(std::initializer_list<std::span<const uint8_t>> parts) {
  Bytes bytes;
  for (const auto part : parts) Append(bytes, part);
  return bytes;
}

Bytes Scope(std::string_view name, std::span<const uint8_t> terms) {
  return Term({kScopeOp}, Concat({NameString(name), terms}));
}

Bytes Device(std::string_view name, std::span<const uint8_t> terms) {
  return Term({kExtOpPrefix, kDeviceOp}, Concat({NameString(name), terms}));
}

Bytes Name(std::string_view name, std::span<const uint8_t> object) {
  return Concat({Bytes{kNameOp}, NameString(name), object});
}

Bytes Method(std::string_view name, uint8_t argument_count, std::span<const uint8_t> terms) {
  const Bytes flags{static_cast<uint8_t>(argument_count | kMethodSerialized)};
  return Term({kMethodOp}, Concat({NameString(name), flags, terms}));
}

Bytes Notify(std::string_view object, uint8_t value) {
  return Concat({Bytes{kNotifyOp}, NameString(object), Integer(value)});
}

Bytes Package(std::initializer_list<uint64_t> integers) {
  Bytes content{static_cast<uint8_t>(integers.size())};
  for (const uint64_t value : integers) Append(content, Integer(value));
  return Term({kPackageOp}, content);
}

Bytes Integer(uint64_t value) {
  Bytes bytes;
  if (value <= 1) {
    bytes.push_back(static_cast<uint8_t>(value));  // ZeroOp, OneOp
  } else if (value <= 0xff) {
    bytes.push_back(kBytePrefix);
    AppendValue(bytes, static_cast<uint8_t>(value));
  } else if (value <= 0xffff) {
    bytes.push_back(kWordPrefix);
    AppendValue(bytes, static_cast<uint16_t>(value));
  } else if (value <= 0xffffffff) {
    bytes.push_back(kDWordPrefix);
    AppendValue(bytes, static_cast<uint32_t>(value));
  } else {
    bytes.push_back(kQWordPrefix);
    AppendValue(bytes, value);
  }
  return bytes;
}

Bytes String(std::string_view text) {
  Bytes bytes{kStringPrefix};
  for (const char character : text) bytes.push_back(static_cast<uint8_t>(character));
  bytes.push_back(0);
  return bytes;
}

Bytes EisaId(std::string_view id) {
  CHECK(id.size() == 7);
  const auto letter = [&](size_t i) { return static_cast<uint32_t>(id[i] - '@') & 0x1f; };
  const auto digit = [&](size_t i) {
    const char c = id[i];
    return static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'A' + 10);
  };
  const uint32_t value = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digit(3) << 12 |
                         digit(4) << 8 | digit(5) << 4 | digit(6);
  Bytes bytes{kDWordPrefix};
  AppendValue(bytes, __builtin_bswap32(value));
  return bytes;
}

Bytes Memory32Fixed(uint32_t base, uint32_t length) {
  Bytes bytes{0x86, 9, 0, 1};  // Length 9; read and write
  AppendValue(bytes, base);
  AppendValue(bytes, length);
  return bytes;
}

Bytes IoPort(uint16_t base, uint8_t length) {
  Bytes bytes{0x47, 1};  // 16-bit decode
  AppendValue(bytes, base);
  AppendValue(bytes, base);
  bytes.push_back(1);
  bytes.push_back(length);
  return bytes;
}

Bytes EdgeInterrupt(uint32_t gsi) {
  // Consumer, edge-triggered, active high, exclusive; one interrupt.
  Bytes bytes{0x89, 6, 0, 0x03, 1};
  AppendValue(bytes, gsi);
  return bytes;
}

Bytes ResourceTemplate(std::span<const uint8_t> descriptors) {
  constexpr uint8_t kEndTag = 0x79;
  const Bytes content = Concat({descriptors, Bytes{kEndTag, 0}});
  return Term({kBufferOp}, Concat({Integer(content.size()), content}));
}

}  // namespace mayfly::aml
