#include "base/control_protocol.h"

#include "base/bytes.h"
#include "base/check.h"

namespace mayfly::control {

std::vector<uint8_t> Encode(FrameType type, uint64_t invocation, std::span<const uint8_t> payload) {
  CHECK(payload.size() <= kMaxPayload);
  const FrameHeader header{static_cast<uint32_t>(payload.size()), static_cast<uint16_t>(type), 0,
                           invocation};
  std::vector<uint8_t> bytes;
  bytes.reserve(sizeof(header) + payload.size());
  const auto header_bytes = BytesOf(header);
  bytes.insert(bytes.end(), header_bytes.begin(), header_bytes.end());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

void FrameReader::Append(std::span<const uint8_t> bytes) {
  if (consumed_ > 0) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(consumed_));
    consumed_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameReader::Next() {
  const std::span<const uint8_t> rest = std::span(buffer_).subspan(consumed_);
  if (rest.size() < sizeof(FrameHeader)) return std::nullopt;
  const auto header = LoadLe<FrameHeader>(rest);
  if (header.type < static_cast<uint16_t>(FrameType::kHello) ||
      header.type > static_cast<uint16_t>(FrameType::kSnapshot) || header.reserved != 0) {
    return Fail(ErrorCode::kGuest,
                "control channel: unknown frame type " + std::to_string(header.type));
  }
  if (header.length > kMaxPayload) {
    return Fail(ErrorCode::kGuest, "control channel: a frame of " + std::to_string(header.length) +
                                       " bytes is too long");
  }
  if (rest.size() - sizeof(header) < header.length) return std::nullopt;
  const auto payload = rest.subspan(sizeof(header), header.length);
  consumed_ += sizeof(header) + header.length;
  return Frame{static_cast<FrameType>(header.type), header.invocation,
               std::vector<uint8_t>(payload.begin(), payload.end())};
}

}  // namespace mayfly::control
