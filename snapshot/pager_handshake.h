#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/paged_regions.h"

namespace mayfly {

// What a machine tells a pager that is a process of its own: one message on a Unix socket, with the
// userfaultfd beside it, in the form that Firecracker's page-fault handlers read
// (docs/pager-protocol.md).
struct PagerHandshake {
  static constexpr size_t kMostBytes = size_t{16} * 1024;
  static constexpr size_t kMostRegions = 64;

  std::vector<PagedRegion> regions;
  // Of which snapshot the memory is: its manifest's digest. Empty if the machine does not say.
  std::string snapshot{};

  [[nodiscard]] std::string Encode() const;
  // `text` is untrusted, for a machine may be in a guest's hand. kInvalidArgument, naming the
  // field, unless every region is whole pages of an image of `image_bytes` bytes.
  static Result<PagerHandshake> Parse(std::string_view text, uint64_t image_bytes);
};

// A socket that is connected to the pager at `path`.
Result<UniqueFd> ConnectToPager(const std::string& path);
Result<void> SendToPager(int socket, std::string_view handshake, int uffd);

struct ReceivedHandshake {
  std::string text;
  UniqueFd uffd;
};
// The pager's side. kTimeout if it is not there in time, kCancelled if the machine hangs up.
Result<ReceivedHandshake> ReceiveFromMachine(int socket, std::chrono::milliseconds timeout);

}  // namespace mayfly
