#include "base/check.h"
#include "base/control_protocol.h"
#include "tests/fuzz/byte_reader.h"

// The control channel's byte stream, in pieces of any size: every frame that comes out is within
// its limits and encodes to the bytes it came from.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mayfly;
  ByteReader in(data, size);
  control::FrameReader reader;
  std::vector<uint8_t> stream;
  size_t consumed = 0;
  while (!in.empty()) {
    const auto piece = in.TakeBytes(1 + in.Below(32));
    stream.insert(stream.end(), piece.begin(), piece.end());
    reader.Append(piece);
    while (true) {
      const auto next = reader.Next();
      if (!next) return 0;
      if (!*next) break;
      const control::Frame& frame = **next;
      CHECK(frame.payload.size() <= control::kMaxPayload);
      const auto bytes = control::Encode(frame.type, frame.invocation, frame.payload);
      CHECK(bytes.size() <= stream.size() - consumed);
      CHECK(std::equal(bytes.begin(), bytes.end(),
                       stream.begin() + static_cast<ptrdiff_t>(consumed)));
      consumed += bytes.size();
    }
  }
  return 0;
}
