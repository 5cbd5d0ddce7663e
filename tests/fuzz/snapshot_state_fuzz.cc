#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sha256.h"
#include "snapshot/state_file.h"
#include "tests/fuzz/byte_reader.h"

// A snapshot's state below its digests, which are made right: what decodes encodes to the same
// bytes, and what does not is corrupt. The sections are a machine's without anything, unless the
// input says otherwise in pieces of bytes and runs of zeros, for a vCPU is 6 KiB long; last come
// flips in header and table.
namespace mayfly {
namespace {

constexpr size_t kHeader = 16;
constexpr size_t kTableEntry = 48;
constexpr size_t kLengthAt = 8;
constexpr size_t kDigestAt = 16;
constexpr size_t kSections = 11;
constexpr size_t kTable = kHeader + kSections * kTableEntry;
// Longer ones only take longer.
constexpr size_t kMostContents = size_t{16} * 1024;
constexpr unsigned kMostZeros = 8 * 1024;

using Bytes = std::vector<uint8_t>;

struct Section {
  Bytes contents;
  bool touched = false;
};
using Sections = std::array<Section, kSections>;

std::span<uint8_t> Entry(Bytes& file, size_t index) {
  return std::span(file).subspan(kHeader + index * kTableEntry, kTableEntry);
}

Sections SectionsOf(Bytes file) {
  Sections sections;
  size_t at = kTable;
  for (size_t i = 0; i < kSections; ++i) {
    const auto length = LoadLe<uint64_t>(Entry(file, i).subspan(kLengthAt));
    const auto contents = std::span(file).subspan(at, length);
    sections[i].contents.assign(contents.begin(), contents.end());
    at += length;
  }
  CHECK(at == file.size());
  return sections;
}

// Gives the section its next piece.
void AddPiece(ByteReader& in, Section& section) {
  if (!section.touched) section.contents.clear();
  section.touched = true;
  Bytes& contents = section.contents;
  if (contents.size() > kMostContents) return;
  if (in.Flag()) {
    const auto piece = in.TakeBytes(1 + in.Below(64));
    contents.insert(contents.end(), piece.begin(), piece.end());
  } else {
    contents.resize(contents.size() + in.Take<uint16_t>() % kMostZeros);
  }
}

// A file of these sections whose lengths and digests are right; `file` has its header and table.
void Seal(Bytes& file, const Sections& sections) {
  file.resize(kTable);
  for (size_t i = 0; i < kSections; ++i) {
    const Bytes& contents = sections[i].contents;
    StoreLe(Entry(file, i).subspan(kLengthAt), uint64_t{contents.size()});
    StoreLe(Entry(file, i).subspan(kDigestAt), DigestOf(contents));
    file.insert(file.end(), contents.begin(), contents.end());
  }
}

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mayfly;
  static const Bytes kEmpty = StateFile::Encode(MachineState{});
  ByteReader in(data, size);
  Bytes file = kEmpty;
  Sections sections = SectionsOf(file);
  Bytes flips;
  while (!in.empty()) {
    // One more than there are sections: a flip.
    const unsigned section = in.Below(kSections + 1);
    if (section < kSections) {
      AddPiece(in, sections[section]);
    } else {
      const auto flip = in.TakeBytes(3);
      if (flip.size() == 3) flips.insert(flips.end(), flip.begin(), flip.end());
    }
  }
  Seal(file, sections);
  for (size_t i = 0; i < flips.size(); i += 3) {
    file[LoadLe<uint16_t>(std::span(flips).subspan(i)) % kTable] ^= flips[i + 2];
  }
  const auto state = StateFile::Decode(file);
  if (state) {
    CHECK(StateFile::Encode(*state) == file);
  } else {
    const ErrorCode code = state.error().code();
    CHECK(code == ErrorCode::kCorrupt || (code == ErrorCode::kUnsupported && !flips.empty()));
  }
  return 0;
}
