#include "snapshot/working_set.h"

#include <fmt/format.h>

#include "base/sha256.h"
#include "snapshot/decoder.h"
#include "snapshot/encoder.h"

namespace mayfly {
namespace {

constexpr uint64_t kMagic = 0x314b524f57594c46;  // "FLYWORK1"

}  // namespace

uint64_t WorkingSet::pages() const {
  uint64_t sum = 0;
  for (const WorkingSetRun& run : runs) sum += run.count;
  return sum;
}

void WorkingSet::Add(uint32_t page, bool written) {
  if (!runs.empty() && runs.back().written == written &&
      runs.back().page + runs.back().count == page) {
    ++runs.back().count;
  } else {
    runs.push_back({page, 1, written});
  }
}

std::vector<uint8_t> WorkingSet::Encode() const {
  Encoder contents;
  contents.Put(*this);
  const std::vector<uint8_t> bytes = contents.Take();
  Encoder file;
  file.Put(kMagic);
  file.Put(DigestOf(bytes));
  std::vector<uint8_t> encoded = file.Take();
  encoded.insert(encoded.end(), bytes.begin(), bytes.end());
  return encoded;
}

Result<WorkingSet> WorkingSet::Decode(std::span<const uint8_t> bytes, uint64_t memory_pages) {
  Decoder header(bytes);
  uint64_t magic = 0;
  Sha256Digest digest{};
  TRY(header.Get(magic));
  TRY(header.Get(digest));
  const auto contents = bytes.subspan(sizeof(magic) + sizeof(digest));
  if (magic != kMagic) return Fail(ErrorCode::kCorrupt, "not a working set");
  if (DigestOf(contents) != digest) {
    return Fail(ErrorCode::kCorrupt, "its digest does not match");
  }
  WorkingSet set;
  Decoder decoder(contents);
  TRY(decoder.Get(set));
  TRY(decoder.Finish());
  if (set.first_stage > set.runs.size()) {
    return Fail(ErrorCode::kCorrupt, fmt::format("first_stage: {} of {} runs", set.first_stage,
                                                 set.runs.size()));
  }
  for (const WorkingSetRun& run : set.runs) {
    if (run.count == 0 || run.page >= memory_pages || run.count > memory_pages - run.page) {
      return Fail(ErrorCode::kCorrupt, fmt::format("runs: {} pages at {}, the memory has {}",
                                                   run.count, run.page, memory_pages));
    }
  }
  return set;
}

}  // namespace mayfly
