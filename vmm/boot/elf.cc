#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "vmm/boot/kernel_file.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

// The note that holds the 32-bit physical entry point (Xen, include/public/elfnote.h).
constexpr uint32_t kXenNotePhys32Entry = 18;
constexpr std::string_view kXenNoteName("Xen\0", 4);
// Notes of a kernel are a few hundred bytes; more is not read.
constexpr uint64_t kMaxNotes = uint64_t{64} * 1024;
constexpr uint16_t kMaxProgramHeaders = 128;

Result<Elf64_Ehdr> ReadHeader(const KernelFile& file) {
  Elf64_Ehdr header{};
  TRY(file.Read(0, MutableBytesOf(header)));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return file.Corrupt("not a 64-bit little-endian ELF file");
  }
  if (header.e_machine != EM_X86_64) {
    return file.Corrupt(fmt::format("built for another architecture (ELF machine {}, x86-64 is {})",
                                    header.e_machine, EM_X86_64));
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kMaxProgramHeaders) {
    return file.Corrupt("no usable program headers");
  }
  return header;
}

// The PVH entry in one PT_NOTE segment, if it is there.
Result<std::optional<uint32_t>> FindPvhEntry(const KernelFile& file, const Elf64_Phdr& segment) {
  std::vector<uint8_t> notes(std::min<uint64_t>(segment.p_filesz, kMaxNotes));
  TRY(file.Read(segment.p_offset, notes));
  std::span<const uint8_t> rest(notes);
  while (rest.size() >= sizeof(Elf64_Nhdr)) {
    const auto note = LoadLe<Elf64_Nhdr>(rest);
    rest = rest.subspan(sizeof(note));
    const uint64_t name_size = AlignUp<uint64_t>(note.n_namesz, 4);
    const uint64_t content_size = AlignUp<uint64_t>(note.n_descsz, 4);
    if (name_size > rest.size() || content_size > rest.size() - name_size) break;
    const auto name = rest.first(name_size);
    const auto content = rest.subspan(name_size, content_size);
    if (note.n_type == kXenNotePhys32Entry && content.size() >= 4 &&
        std::ranges::equal(name, kXenNoteName,
                           [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); })) {
      return LoadLe<uint32_t>(content);
    }
    rest = rest.subspan(name_size + content_size);
  }
  return std::nullopt;
}

}  // namespace

Result<LoadedKernel> LoadElf(const KernelFile& file, const GuestMemory& memory) {
  const Elf64_Ehdr header = TRY(ReadHeader(file));
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  TRY(file.Read(header.e_phoff, {reinterpret_cast<uint8_t*>(segments.data()),
                                 segments.size() * sizeof(Elf64_Phdr)}));

  LoadedKernel kernel{BootProtocol::kLinux64,
                      GuestAddress{header.e_entry},
                      layout::kHighRam,
                      GuestMemory::kHoleStart,
                      {}};
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_NOTE) {
      if (const auto entry = TRY(FindPvhEntry(file, segment))) {
        kernel.protocol = BootProtocol::kPvh;
        kernel.entry = GuestAddress{*entry};
      }
    }
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
    if (segment.p_filesz > segment.p_memsz) {
      return file.Corrupt("a segment has more bytes in the file than in memory");
    }
    const GuestAddress start{segment.p_paddr};
    if (start < layout::kHighRam) {
      return file.Corrupt(fmt::format("a segment wants address {:#x}, below 1 MiB", start.value));
    }
    // The rest, up to p_memsz, is zero in fresh guest memory; it has to be there.
    if (!memory.Contains(start, segment.p_memsz)) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("kernel: {}: a segment of {} bytes at {:#x} does not fit into {} MiB "
                              "of guest memory",
                              file.path(), segment.p_memsz, start.value, memory.size() >> 20));
    }
    TRY(file.ReadToGuest(segment.p_offset, segment.p_filesz, start, memory));
    kernel.end = std::max(kernel.end, start + segment.p_memsz);
  }
  if (!memory.Contains(kernel.entry, 1) || kernel.entry >= kernel.end) {
    return file.Corrupt(fmt::format("its entry point {:#x} is in no segment", kernel.entry.value));
  }
  return kernel;
}

}  // namespace mayfly
