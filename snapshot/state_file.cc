#include "snapshot/state_file.h"

#include <fmt/format.h>

#include <string_view>

#include "base/bytes.h"
#include "snapshot/decoder.h"
#include "snapshot/encoder.h"

namespace mayfly {
namespace {

constexpr uint64_t kMagic = 0x54415453594c464d;  // "MFLYSTAT"
constexpr uint16_t kFormatVersion = 1;
constexpr uint16_t kSectionVersion = 1;

struct Header {
  uint64_t magic;
  uint16_t version;
  uint16_t section_count;
  uint32_t reserved;
};
static_assert(sizeof(Header) == 16);

struct SectionHeader {
  uint32_t tag;
  uint16_t version;
  uint16_t reserved;
  uint64_t length;
  Sha256Digest digest;
};
static_assert(sizeof(SectionHeader) == 48);

constexpr uint32_t Tag(std::string_view text) {
  return static_cast<uint32_t>(text[0]) | static_cast<uint32_t>(text[1]) << 8 |
         static_cast<uint32_t>(text[2]) << 16 | static_cast<uint32_t>(text[3]) << 24;
}

// The sections, each once and in this order: `visit(tag, name, member)`.
template <class Visitor>
void VisitSections(Visitor&& visit) {
  visit(Tag("MEMO"), "memory_bytes", &MachineState::memory_bytes);
  visit(Tag("CLCK"), "clock_ns", &MachineState::clock_ns);
  visit(Tag("VCPU"), "vcpus", &MachineState::vcpus);
  visit(Tag("IOAP"), "ioapic", &MachineState::ioapic);
  visit(Tag("SERI"), "serial", &MachineState::serial);
  visit(Tag("GENE"), "generation", &MachineState::generation);
  visit(Tag("VIRT"), "virtio", &MachineState::virtio);
  visit(Tag("BLKD"), "disks", &MachineState::disks);
  visit(Tag("NETD"), "nets", &MachineState::nets);
  visit(Tag("VSOC"), "vsocks", &MachineState::vsocks);
  visit(Tag("BALL"), "balloons", &MachineState::balloons);
}

Result<std::vector<SectionHeader>> ReadTable(std::span<const uint8_t> bytes) {
  if (bytes.size() < sizeof(Header)) return Fail(ErrorCode::kCorrupt, "the header is cut off");
  const auto header = LoadLe<Header>(bytes);
  if (header.magic != kMagic) return Fail(ErrorCode::kCorrupt, "not a snapshot's state");
  if (header.version != kFormatVersion) {
    return Fail(ErrorCode::kUnsupported, fmt::format("format version {}, this mayfly reads {}",
                                                     header.version, kFormatVersion));
  }
  if (header.reserved != 0) return Fail(ErrorCode::kCorrupt, "reserved bytes are set");
  bytes = bytes.subspan(sizeof(Header));
  std::vector<SectionHeader> table;
  for (uint16_t i = 0; i < header.section_count; ++i) {
    if (bytes.size() < sizeof(SectionHeader)) {
      return Fail(ErrorCode::kCorrupt, "the section table is cut off");
    }
    table.push_back(LoadLe<SectionHeader>(bytes));
    bytes = bytes.subspan(sizeof(SectionHeader));
  }
  return table;
}

size_t TableSize(size_t sections) { return sizeof(Header) + sections * sizeof(SectionHeader); }

// The sections' contents one after the other, cut off as they are taken.
class Sections {
 public:
  Sections(std::vector<SectionHeader> table, std::span<const uint8_t> contents)
      : table_(std::move(table)), contents_(contents) {}

  // The checked contents of the next section, which must be this one.
  Result<std::span<const uint8_t>> Take(uint32_t tag) {
    if (next_ == table_.size()) return Fail(ErrorCode::kCorrupt, "the section is missing");
    const SectionHeader& header = table_[next_++];
    if (header.tag != tag || header.reserved != 0) {
      return Fail(ErrorCode::kCorrupt, "another section is in its place");
    }
    if (header.version != kSectionVersion) {
      return Fail(ErrorCode::kUnsupported, fmt::format("section version {}, this mayfly reads {}",
                                                       header.version, kSectionVersion));
    }
    if (header.length > contents_.size()) return Fail(ErrorCode::kCorrupt, "it is cut off");
    const auto contents = contents_.first(header.length);
    contents_ = contents_.subspan(header.length);
    if (DigestOf(contents) != header.digest) {
      return Fail(ErrorCode::kCorrupt, "its digest does not match");
    }
    return contents;
  }

  [[nodiscard]] Result<void> Finish() const {
    if (next_ == table_.size() && contents_.empty()) return {};
    return Fail(ErrorCode::kCorrupt, "there is more behind the last section");
  }

 private:
  const std::vector<SectionHeader> table_;
  std::span<const uint8_t> contents_;
  size_t next_ = 0;
};

template <class T>
Result<void> DecodeSection(std::span<const uint8_t> contents, T& value) {
  Decoder decoder(contents);
  TRY(decoder.Get(value));
  return decoder.Finish();
}

}  // namespace

std::vector<uint8_t> StateFile::Encode(const MachineState& state) {
  std::vector<uint8_t> contents;
  std::vector<SectionHeader> table;
  VisitSections([&](uint32_t tag, const char*, auto member) {
    Encoder encoder;
    encoder.Put(state.*member);
    const std::vector<uint8_t> section = encoder.Take();
    table.push_back({tag, kSectionVersion, 0, section.size(), DigestOf(section)});
    contents.insert(contents.end(), section.begin(), section.end());
  });
  const Header header{kMagic, kFormatVersion, static_cast<uint16_t>(table.size()), 0};
  std::vector<uint8_t> file(TableSize(table.size()));
  StoreLe(file, header);
  for (size_t i = 0; i < table.size(); ++i) {
    StoreLe(std::span(file).subspan(TableSize(i)), table[i]);
  }
  file.insert(file.end(), contents.begin(), contents.end());
  return file;
}

Result<Sha256Digest> StateFile::TableDigest(std::span<const uint8_t> bytes) {
  const auto table = TRY(ReadTable(bytes));
  return DigestOf(bytes.first(TableSize(table.size())));
}

Result<MachineState> StateFile::Decode(std::span<const uint8_t> bytes) {
  auto table = TRY(ReadTable(bytes));
  const size_t table_size = TableSize(table.size());
  Sections sections(std::move(table), bytes.subspan(table_size));
  MachineState state;
  Result<void> result;
  VisitSections([&](uint32_t tag, const char* name, auto member) {
    if (!result) return;
    const Result<std::span<const uint8_t>> contents = sections.Take(tag);
    result = contents ? DecodeSection(*contents, state.*member)
                      : Result<void>(std::unexpected(contents.error()));
    result = WithContext(std::move(result), name);
  });
  if (!result) return std::unexpected(std::move(result).error());
  TRY(sections.Finish());
  return state;
}

}  // namespace mayfly
