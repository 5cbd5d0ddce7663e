#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/net/net_header.h"
#include "devices/virtio/vsock/connect_request.h"
#include "devices/virtio/vsock/packet.h"
#include "tests/fuzz/byte_reader.h"

// What devices make of a few bytes without any state: the header of a frame, that of a vsock
// packet, and the line with which a host's client asks for a port of the guest. Each input is all
// three.
namespace mayfly {
namespace {

void CheckFrameHeader(ByteReader in) {
  using namespace net;
  const uint64_t features = in.Take<uint16_t>();
  const auto header = in.Take<Header>();
  (void)Understood(header, features);
  const std::optional<Header> trusted = Trusted(header, features);
  if (!trusted) return;
  CHECK((trusted->flags & ~kFlagNeedsCsum) == 0);
  CHECK(trusted->flags == 0 || (features & kFeatureCsum) != 0);
  CHECK(trusted->hdr_len == 0 && trusted->num_buffers == 0);
  // Segmentation wants a checksum to be done, a size, and the consent of both.
  const uint64_t offloads = (trusted->gso_type == kGsoTcp4 ? kFeatureHostTso4 : 0) |
                            (trusted->gso_type == kGsoTcp6 ? kFeatureHostTso6 : 0);
  CHECK(trusted->gso_type == kGsoNone || (offloads & features) != 0);
  CHECK(trusted->gso_type == kGsoNone || (trusted->flags != 0 && trusted->gso_size != 0));
  // Nothing more is to be found wrong with what was trusted.
  const std::optional<Header> again = Trusted(*trusted, features);
  CHECK(again && std::ranges::equal(BytesOf(*again), BytesOf(*trusted)));
}

void CheckPacketHeader(ByteReader in) {
  using namespace vsock;
  const auto header = in.Take<PacketHeader>();
  const size_t payload = in.Take<uint32_t>();
  if (!IsWellFormed(header, sizeof(header) + payload)) return;
  CHECK(header.dst_cid == kHostCid && header.type == kTypeStream);
  CHECK(header.len <= payload && header.len <= kMaxPayload);
  CHECK(header.len == 0 || header.op == static_cast<uint16_t>(Op::kRw));
}

void CheckConnectRequest(ByteReader in) {
  const auto bytes = in.TakeBytes(SIZE_MAX);
  const std::string request(bytes.begin(), bytes.end());
  const std::optional<uint32_t> port = ParseConnectRequest(request);
  if (!port) return;
  // The same number, perhaps behind zeros.
  const std::string digits = std::to_string(*port);
  CHECK(request.starts_with("CONNECT ") && request.ends_with(digits));
  const size_t zeros = request.size() - std::string("CONNECT ").size() - digits.size();
  CHECK(request.substr(std::string("CONNECT ").size(), zeros) == std::string(zeros, '0'));
}

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mayfly::ByteReader in(data, size);
  mayfly::CheckFrameHeader(in);
  mayfly::CheckPacketHeader(in);
  mayfly::CheckConnectRequest(in);
  return 0;
}
