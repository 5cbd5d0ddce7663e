#include "vmm/function/elf_dependencies.h"

#include <elf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "base/arithmetic.h"
#include "base/file.h"

namespace mayfly {
namespace {

// Caps on what a hostile file can make us read; real files stay far below them.
constexpr size_t kMostSegments = 1024;
constexpr size_t kMostDynamicEntries = 16384;
constexpr size_t kMostString = 4096;

// An ELF file and its segments, every offset checked against the file's size.
class ElfFile {
 public:
  static Result<ElfFile> Read(int fd, std::string_view name, const Elf64_Ehdr& header);

  [[nodiscard]] const Elf64_Phdr* FindSegment(Elf64_Word type) const;
  // A string of at most `room` bytes at file offset `offset`.
  [[nodiscard]] Result<std::string> ReadString(uint64_t offset, uint64_t room) const;
  [[nodiscard]] Result<std::vector<Elf64_Dyn>> ReadDynamic() const;
  // Where the loaded address `address` stands in the file.
  [[nodiscard]] Result<uint64_t> OffsetOf(uint64_t address) const;
  [[nodiscard]] std::unexpected<Error> Damaged(std::string_view what) const {
    return Fail(ErrorCode::kCorrupt, fmt::format("{}: damaged ELF file: {}", name_, what));
  }

 private:
  ElfFile(int fd, std::string_view name, uint64_t size) : fd_(fd), name_(name), size_(size) {}

  int fd_;
  std::string name_;
  uint64_t size_;
  std::vector<Elf64_Phdr> segments_;
};

Result<ElfFile> ElfFile::Read(int fd, std::string_view name, const Elf64_Ehdr& header) {
  ElfFile file(fd, name, TRY(FileSize(fd, name)));
  if (header.e_phnum == 0) return file;
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMostSegments ||
      !RangeFits<uint64_t>(header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr),
                           file.size_)) {
    return file.Damaged("program headers");
  }
  file.segments_.resize(header.e_phnum);
  const std::span<Elf64_Phdr> segments(file.segments_);
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(segments.data()),
                                 segments.size_bytes());
  TRY(ReadExactAt(fd, bytes, header.e_phoff, name));
  return file;
}

const Elf64_Phdr* ElfFile::FindSegment(Elf64_Word type) const {
  const auto found = std::ranges::find(segments_, type, &Elf64_Phdr::p_type);
  return found == segments_.end() ? nullptr : &*found;
}

Result<std::string> ElfFile::ReadString(uint64_t offset, uint64_t room) const {
  if (offset >= size_) return Damaged("a string lies outside of the file");
  std::string text(std::min<uint64_t>({room, kMostString, size_ - offset}), '\0');
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(text.data()), text.size());
  TRY(ReadExactAt(fd_, bytes, offset, name_));
  const size_t end = text.find('\0');
  if (end == std::string::npos) return Damaged("a string does not end");
  text.resize(end);
  return text;
}

Result<std::vector<Elf64_Dyn>> ElfFile::ReadDynamic() const {
  const Elf64_Phdr* segment = FindSegment(PT_DYNAMIC);
  std::vector<Elf64_Dyn> entries;
  if (segment == nullptr) return entries;
  const uint64_t count = segment->p_filesz / sizeof(Elf64_Dyn);
  if (count > kMostDynamicEntries ||
      !RangeFits<uint64_t>(segment->p_offset, segment->p_filesz, size_)) {
    return Damaged("dynamic section");
  }
  entries.resize(count);
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(entries.data()),
                                 entries.size() * sizeof(Elf64_Dyn));
  TRY(ReadExactAt(fd_, bytes, segment->p_offset, name_));
  entries.erase(std::ranges::find(entries, DT_NULL, &Elf64_Dyn::d_tag), entries.end());
  return entries;
}

Result<uint64_t> ElfFile::OffsetOf(uint64_t address) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD || address < segment.p_vaddr ||
        address - segment.p_vaddr >= segment.p_filesz) {
      continue;
    }
    const auto offset = CheckedAdd<uint64_t>(segment.p_offset, address - segment.p_vaddr);
    if (offset) return *offset;
  }
  return Damaged("string table");
}

// The string table that DT_STRTAB and DT_STRSZ describe.
struct StringTable {
  uint64_t offset = 0;
  uint64_t size = 0;
};

Result<StringTable> FindStrings(const ElfFile& file, const std::vector<Elf64_Dyn>& entries) {
  const auto address = std::ranges::find(entries, DT_STRTAB, &Elf64_Dyn::d_tag);
  const auto size = std::ranges::find(entries, DT_STRSZ, &Elf64_Dyn::d_tag);
  if (address == entries.end() || size == entries.end()) return file.Damaged("no string table");
  return StringTable{TRY(file.OffsetOf(address->d_un.d_ptr)), size->d_un.d_val};
}

Result<std::string> ReadDynamicString(const ElfFile& file, const StringTable& strings,
                                      uint64_t index) {
  const auto offset = CheckedAdd(strings.offset, index);
  if (index >= strings.size || !offset) return file.Damaged("a string index");
  return file.ReadString(*offset, strings.size - index);
}

}  // namespace

Result<std::optional<ElfDependencies>> ReadElfDependencies(int fd, std::string_view name) {
  Elf64_Ehdr header{};
  const ssize_t count = ::pread(fd, &header, sizeof(header), 0);
  if (count < 0) return FailErrno("read " + std::string(name));
  if (count < SELFMAG || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (count < static_cast<ssize_t>(sizeof(header))) {
    return Fail(ErrorCode::kCorrupt, fmt::format("{}: damaged ELF file: cut short", name));
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64 || (header.e_type != ET_EXEC && header.e_type != ET_DYN)) {
    return std::nullopt;
  }

  const ElfFile file = TRY(ElfFile::Read(fd, name, header));
  const std::vector<Elf64_Dyn> entries = TRY(file.ReadDynamic());
  if (entries.empty()) return std::nullopt;
  ElfDependencies dependencies;
  dependencies.shared_object = header.e_type == ET_DYN;
  if (const Elf64_Phdr* segment = file.FindSegment(PT_INTERP)) {
    dependencies.interpreter = TRY(file.ReadString(segment->p_offset, segment->p_filesz));
  }
  const StringTable strings = TRY(FindStrings(file, entries));
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag == DT_NEEDED) {
      dependencies.needed.push_back(TRY(ReadDynamicString(file, strings, entry.d_un.d_val)));
    } else if (entry.d_tag == DT_RPATH) {
      dependencies.rpath = TRY(ReadDynamicString(file, strings, entry.d_un.d_val));
    } else if (entry.d_tag == DT_RUNPATH) {
      dependencies.runpath = TRY(ReadDynamicString(file, strings, entry.d_un.d_val));
    }
  }
  return dependencies;
}

}  // namespace mayfly
