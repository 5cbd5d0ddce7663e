#include "vmm/function/elf_dependencies.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr size_t kDynamicAt = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
constexpr size_t kStringsAt = kDynamicAt + 6 * sizeof(Elf64_Dyn);
constexpr char kStrings[] = "\0libx.so.1\0/r\0$ORIGIN/l\0/lib/ld.so";
constexpr uint64_t kBase = 0x400000;

// A shared object that has nothing but what a loader reads first.
struct SmallElf {
  Elf64_Ehdr header{};
  Elf64_Phdr load{.p_type = PT_LOAD,
                  .p_flags = PF_R,
                  .p_offset = 0,
                  .p_vaddr = kBase,
                  .p_paddr = kBase,
                  .p_filesz = kStringsAt + sizeof(kStrings),
                  .p_memsz = kStringsAt + sizeof(kStrings),
                  .p_align = 4096};
  Elf64_Phdr dynamic{.p_type = PT_DYNAMIC,
                     .p_flags = PF_R,
                     .p_offset = kDynamicAt,
                     .p_vaddr = kBase + kDynamicAt,
                     .p_paddr = 0,
                     .p_filesz = 6 * sizeof(Elf64_Dyn),
                     .p_memsz = 0,
                     .p_align = 8};
  Elf64_Phdr interpreter{.p_type = PT_INTERP,
                         .p_flags = PF_R,
                         .p_offset = kStringsAt + 24,
                         .p_vaddr = 0,
                         .p_paddr = 0,
                         .p_filesz = 11,
                         .p_memsz = 0,
                         .p_align = 1};
  Elf64_Dyn needed{.d_tag = DT_NEEDED, .d_un = {.d_val = 1}};
  Elf64_Dyn rpath{.d_tag = DT_RPATH, .d_un = {.d_val = 11}};
  Elf64_Dyn runpath{.d_tag = DT_RUNPATH, .d_un = {.d_val = 14}};
  Elf64_Dyn strings{.d_tag = DT_STRTAB, .d_un = {.d_val = kBase + kStringsAt}};
  Elf64_Dyn strings_size{.d_tag = DT_STRSZ, .d_un = {.d_val = sizeof(kStrings)}};
  Elf64_Dyn end{.d_tag = DT_NULL, .d_un = {.d_val = 0}};

  SmallElf() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
  }

  [[nodiscard]] std::string Bytes() const {
    std::string bytes(AsText(BytesOf(header)));
    for (const Elf64_Phdr& segment : {load, dynamic, interpreter})
      bytes += AsText(BytesOf(segment));
    for (const Elf64_Dyn& entry : {needed, rpath, runpath, strings, strings_size, end}) {
      bytes += AsText(BytesOf(entry));
    }
    return bytes + std::string(kStrings, sizeof(kStrings));
  }
};

Result<std::optional<ElfDependencies>> ReadBytes(const std::string& bytes) {
  const Scratch scratch;
  const auto file = OpenFile(scratch.Write("x.so", bytes), O_RDONLY);
  return ReadElfDependencies(file->get(), "x.so");
}

TEST(ElfDependenciesTest, ReadsWhatTheLoaderReads) {
  const auto dependencies = ReadBytes(SmallElf().Bytes());
  ASSERT_TRUE(dependencies) << dependencies.error().message();
  ASSERT_TRUE(*dependencies);
  EXPECT_EQ((*dependencies)->needed, std::vector<std::string>{"libx.so.1"});
  EXPECT_EQ((*dependencies)->rpath, "/r");
  EXPECT_EQ((*dependencies)->runpath, "$ORIGIN/l");
  EXPECT_EQ((*dependencies)->interpreter, "/lib/ld.so");
  EXPECT_TRUE((*dependencies)->shared_object);
}

TEST(ElfDependenciesTest, ReadsARealProgram) {
  const auto file = OpenFile("/bin/true", O_RDONLY);
  const auto dependencies = ReadElfDependencies(file->get(), "/bin/true");
  ASSERT_TRUE(dependencies && *dependencies);
  EXPECT_EQ((*dependencies)->interpreter, "/lib64/ld-linux-x86-64.so.2");
  EXPECT_EQ(std::ranges::count((*dependencies)->needed, "libc.so.6"), 1);
}

TEST(ElfDependenciesTest, OtherFilesHaveNone) {
  SmallElf other_machine;
  other_machine.header.e_machine = EM_AARCH64;
  SmallElf object_file;
  object_file.header.e_type = ET_REL;
  SmallElf of_32_bits;
  of_32_bits.header.e_ident[EI_CLASS] = ELFCLASS32;
  SmallElf fixed;
  fixed.header.e_phnum = 0;
  EXPECT_EQ(ReadBytes(other_machine.Bytes())->has_value(), false);
  EXPECT_EQ(ReadBytes(object_file.Bytes())->has_value(), false);
  EXPECT_EQ(ReadBytes(of_32_bits.Bytes())->has_value(), false);
  EXPECT_EQ(ReadBytes(fixed.Bytes())->has_value(), false);
  EXPECT_EQ(ReadBytes("#!/bin/sh\n")->has_value(), false);
  EXPECT_EQ(ReadBytes("")->has_value(), false);
}

TEST(ElfDependenciesTest, EveryTruncationIsCorrupt) {
  const std::string bytes = SmallElf().Bytes();
  for (size_t length = SELFMAG; length < bytes.size() - 1; ++length) {
    EXPECT_EQ(CodeOf(ReadBytes(bytes.substr(0, length))), ErrorCode::kCorrupt) << length;
  }
}

TEST(ElfDependenciesTest, HostileOffsetsAreCorrupt) {
  SmallElf headers;
  headers.header.e_phoff = UINT64_MAX - 8;
  SmallElf dynamic;
  dynamic.dynamic.p_offset = UINT64_MAX;
  SmallElf many;
  many.dynamic.p_filesz = UINT64_MAX;
  SmallElf strings;
  strings.strings.d_un.d_val = kBase - 1;
  SmallElf wrapping;
  wrapping.load.p_offset = UINT64_MAX;
  SmallElf index;
  index.needed.d_un.d_val = UINT64_MAX;
  SmallElf interpreter;
  interpreter.interpreter.p_offset = UINT64_MAX;
  SmallElf unending;
  unending.interpreter.p_filesz = 3;
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(headers.Bytes())), "x.so: damaged ELF file: program h"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(dynamic.Bytes())), "dynamic section"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(many.Bytes())), "dynamic section"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(strings.Bytes())), "string table"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(wrapping.Bytes())), "string table"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(index.Bytes())), "a string index"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(interpreter.Bytes())), "outside of the file"));
  EXPECT_TRUE(Mentions(MessageOf(ReadBytes(unending.Bytes())), "does not end"));
}

}  // namespace
}  // namespace mayfly
