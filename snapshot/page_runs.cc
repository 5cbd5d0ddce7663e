#include "snapshot/page_runs.h"

#include <fmt/format.h>

#include "snapshot/decoder.h"
#include "snapshot/encoder.h"

namespace mayfly {
namespace {

constexpr uint64_t kMagic = 0x3145474150594c46;  // "FLYPAGE1"

}  // namespace

void PageRuns::Add(uint32_t page) {
  if (!runs.empty() && runs.back().page + runs.back().count == page) {
    ++runs.back().count;
  } else {
    runs.push_back({page, 1});
  }
}

uint64_t PageRuns::pages() const {
  uint64_t sum = 0;
  for (const PageRun& run : runs) sum += run.count;
  return sum;
}

Result<std::vector<uint8_t>> PageRuns::Encode() const {
  Encoder file;
  file.Put(kMagic);
  file.Put(*this);
  std::vector<uint8_t> bytes = file.Take();
  if (bytes.size() <= kMostBytes) return bytes;
  return Fail(ErrorCode::kTooLarge,
              fmt::format("memory.pages: {} runs of pages differ from the parent's, {} bytes are "
                          "possible; save the machine without a parent",
                          runs.size(), kMostBytes));
}

Result<PageRuns> PageRuns::Decode(std::span<const uint8_t> bytes, uint64_t memory_pages) {
  Decoder file(bytes);
  uint64_t magic = 0;
  TRY(file.Get(magic));
  if (magic != kMagic) return Fail(ErrorCode::kCorrupt, "not a list of pages");
  PageRuns pages;
  TRY(file.Get(pages));
  TRY(file.Finish());
  uint64_t least = 0;
  for (const PageRun& run : pages.runs) {
    if (run.count == 0 || run.page < least || run.page >= memory_pages ||
        run.count > memory_pages - run.page) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("runs: {} pages at {}, {} is the least and the memory has {}",
                              run.count, run.page, least, memory_pages));
    }
    // A page that is not in it lies between two runs.
    least = uint64_t{run.page} + run.count + 1;
  }
  return pages;
}

}  // namespace mayfly
