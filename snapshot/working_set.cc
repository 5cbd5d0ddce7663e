#include "snapshot/working_set.h"

#include <fmt/format.h>

#include <unordered_map>

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

WorkingSet WorkingSet::Common(std::span<const WorkingSet> records, const WorkingSet& more) {
  struct Touched {
    size_t records = 0;
    bool written = false;
  };
  std::unordered_map<uint32_t, Touched> pages;
  std::vector<uint32_t> order;
  const auto add = [&](const WorkingSet& set, size_t weight) {
    for (const WorkingSetRun& run : set.runs) {
      for (uint32_t page = run.page; page < run.page + run.count; ++page) {
        const auto [entry, is_new] = pages.try_emplace(page);
        if (is_new) order.push_back(page);
        entry->second.records += weight;
        entry->second.written |= run.written;
      }
    }
  };
  for (const WorkingSet& record : records) add(record, 1);
  add(more, records.size());
  WorkingSet common;
  for (const uint32_t page : order) {
    const Touched& touched = pages[page];
    if (2 * touched.records >= records.size()) common.Add(page, touched.written);
  }
  common.first_stage = static_cast<uint32_t>(common.runs.size() / 2);
  return common;
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
    return Fail(ErrorCode::kCorrupt,
                fmt::format("first_stage: {} of {} runs", set.first_stage, set.runs.size()));
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
