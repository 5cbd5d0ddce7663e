#include "vmm/boot/kernel.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

constexpr uint64_t kMemory = 64 << 20;
constexpr uint64_t kLoadAddress = 0x1000000;

// Kernel images made byte by byte, and loaded through a file as real ones are.
class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_ = GuestMemory::Create(kMemory).value();
    elf_.e_ident[EI_MAG0] = ELFMAG0;
    elf_.e_ident[EI_MAG1] = 'E';
    elf_.e_ident[EI_MAG2] = 'L';
    elf_.e_ident[EI_MAG3] = 'F';
    elf_.e_ident[EI_CLASS] = ELFCLASS64;
    elf_.e_ident[EI_DATA] = ELFDATA2LSB;
    elf_.e_machine = EM_X86_64;
    elf_.e_entry = kLoadAddress;
    elf_.e_phoff = sizeof(Elf64_Ehdr);
    elf_.e_phentsize = sizeof(Elf64_Phdr);
    elf_.e_phnum = 2;
    load_.p_type = PT_LOAD;
    load_.p_offset = kCodeOffset;
    load_.p_paddr = kLoadAddress;
    load_.p_filesz = 4;
    load_.p_memsz = 4096;
    note_.p_type = PT_NULL;
  }

  void AddPvhNote(uint32_t entry) {
    note_.p_type = PT_NOTE;
    note_.p_offset = kNoteOffset;
    note_.p_filesz = 20;
    const Elf64_Nhdr header{4, 4, 18};
    Put(kNoteOffset, BytesOf(header));
    Put(kNoteOffset + 12, AsBytes(std::string_view("Xen\0", 4)));
    Put(kNoteOffset + 16, BytesOf(entry));
  }

  Result<LoadedKernel> LoadElfFile() {
    Put(0, BytesOf(elf_));
    Put(sizeof(elf_), BytesOf(load_));
    Put(sizeof(elf_) + sizeof(load_), BytesOf(note_));
    Put(kCodeOffset, AsBytes("code"));
    return Load();
  }

  Result<LoadedKernel> LoadBzImageFile() {
    Put(0x1f1, BytesOf(header_));
    Put(1024, AsBytes("the protected-mode code of 32by"));
    image_.resize(1024 + 32);
    return Load();
  }

  Result<LoadedKernel> Load() {
    const std::string path = testing::TempDir() + "/mayfly-kernel-test";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(image_.data()),
               static_cast<std::streamsize>(image_.size()));
    Result<LoadedKernel> kernel = LoadKernel(path, *memory_);
    std::filesystem::remove(path);
    return kernel;
  }

  void Put(uint64_t offset, std::span<const uint8_t> bytes) {
    if (image_.size() < offset + bytes.size()) image_.resize(offset + bytes.size());
    std::ranges::copy(bytes, image_.begin() + static_cast<ptrdiff_t>(offset));
  }

  static setup_header GoodSetupHeader() {
    setup_header header{};
    header.setup_sects = 1;
    header.syssize = 2;
    header.boot_flag = 0xaa55;
    header.header = 0x53726448;
    header.version = 0x020f;
    header.loadflags = LOADED_HIGH;
    header.xloadflags = XLF_KERNEL_64;
    header.pref_address = kLoadAddress;
    header.init_size = 1 << 20;
    header.initrd_addr_max = 0x7fffffff;
    return header;
  }

  std::string TextAt(uint64_t address, size_t size) {
    std::vector<uint8_t> bytes(size);
    EXPECT_TRUE(memory_->Read(GuestAddress{address}, bytes));
    return std::string(AsText(bytes));
  }

  static constexpr uint64_t kCodeOffset = 0x1000;
  static constexpr uint64_t kNoteOffset = 0x800;

  std::unique_ptr<GuestMemory> memory_;
  Elf64_Ehdr elf_{};
  Elf64_Phdr load_{};
  Elf64_Phdr note_{};
  setup_header header_ = GoodSetupHeader();
  std::vector<uint8_t> image_;
};

TEST_F(KernelTest, ElfWithoutNoteIsEnteredInLongMode) {
  const auto kernel = LoadElfFile();
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->protocol, BootProtocol::kLinux64);
  EXPECT_EQ(kernel->entry, GuestAddress{kLoadAddress});
  EXPECT_EQ(kernel->end, GuestAddress{kLoadAddress + 4096});
  EXPECT_EQ(TextAt(kLoadAddress, 4), "code");
}

TEST_F(KernelTest, ElfWithPvhNoteIsEnteredThere) {
  AddPvhNote(kLoadAddress + 8);
  const auto kernel = LoadElfFile();
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->protocol, BootProtocol::kPvh);
  EXPECT_EQ(kernel->entry, GuestAddress{kLoadAddress + 8});
}

TEST_F(KernelTest, ElfOfAnotherArchitectureIsNamed) {
  elf_.e_machine = EM_AARCH64;
  const auto kernel = LoadElfFile();
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code(), ErrorCode::kCorrupt);
  EXPECT_NE(kernel.error().message().find("another architecture"), std::string::npos);
}

TEST_F(KernelTest, TruncatedElfIsRefused) {
  load_.p_filesz = 1 << 20;
  load_.p_memsz = 1 << 20;
  const auto kernel = LoadElfFile();
  ASSERT_FALSE(kernel);
  EXPECT_NE(kernel.error().message().find("truncated"), std::string::npos);
}

TEST_F(KernelTest, ElfSegmentWithMoreInTheFileThanInMemoryIsRefused) {
  load_.p_memsz = 2;
  EXPECT_EQ(LoadElfFile().error().code(), ErrorCode::kCorrupt);
}

TEST_F(KernelTest, ElfSegmentBelowOneMebibyteIsRefused) {
  load_.p_paddr = 0x1000;
  EXPECT_EQ(LoadElfFile().error().code(), ErrorCode::kCorrupt);
}

TEST_F(KernelTest, ElfSegmentOutsideOfMemoryIsRefused) {
  load_.p_paddr = kMemory - 100;
  EXPECT_EQ(LoadElfFile().error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(KernelTest, ElfSegmentWhoseEndWrapsIsRefused) {
  load_.p_paddr = ~uint64_t{0} - 100;
  EXPECT_FALSE(LoadElfFile());
}

TEST_F(KernelTest, ElfEntryOutsideOfItsSegmentsIsRefused) {
  elf_.e_entry = 0xffffffff81000000;
  EXPECT_EQ(LoadElfFile().error().code(), ErrorCode::kCorrupt);
}

TEST_F(KernelTest, ElfWithAHugeProgramHeaderOffsetIsRefused) {
  elf_.e_phoff = ~uint64_t{0} - 8;
  EXPECT_EQ(LoadElfFile().error().code(), ErrorCode::kCorrupt);
}

TEST_F(KernelTest, ElfNoteWithAWrappingSizeIsIgnored) {
  AddPvhNote(kLoadAddress + 8);
  const Elf64_Nhdr huge{0xffffffff, 0xffffffff, 18};
  Put(kNoteOffset, BytesOf(huge));
  const auto kernel = LoadElfFile();
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->protocol, BootProtocol::kLinux64);
}

TEST_F(KernelTest, BzImageGoesWhereItsHeaderPrefers) {
  const auto kernel = LoadBzImageFile();
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->protocol, BootProtocol::kLinux64);
  EXPECT_EQ(kernel->entry, GuestAddress{kLoadAddress + 0x200});
  EXPECT_EQ(kernel->end, GuestAddress{kLoadAddress + (1 << 20)});
  EXPECT_EQ(kernel->initrd_limit, 0x80000000);
  EXPECT_EQ(TextAt(kLoadAddress, 18), "the protected-mode");
}

TEST_F(KernelTest, BzImageWithoutA64BitEntryIsRefused) {
  header_.xloadflags = 0;
  EXPECT_EQ(LoadBzImageFile().error().code(), ErrorCode::kCorrupt);
}

TEST_F(KernelTest, TruncatedBzImageIsRefused) {
  header_.syssize = 1000;
  const auto kernel = LoadBzImageFile();
  ASSERT_FALSE(kernel);
  EXPECT_NE(kernel.error().message().find("truncated"), std::string::npos);
}

TEST_F(KernelTest, BzImageThatNeedsMoreMemoryThanThereIsIsRefused) {
  header_.init_size = 0xffffffff;
  EXPECT_EQ(LoadBzImageFile().error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(KernelTest, TextFileIsNoKernel) {
  Put(0, AsBytes(std::string(2000, 'x')));
  const auto kernel = Load();
  ASSERT_FALSE(kernel);
  EXPECT_NE(kernel.error().message().find("neither an ELF file nor an x86 bzImage"),
            std::string::npos);
}

TEST_F(KernelTest, EmptyFileIsTruncated) { EXPECT_EQ(Load().error().code(), ErrorCode::kCorrupt); }

TEST_F(KernelTest, MissingFileIsNamed) {
  const auto kernel = LoadKernel("/nonexistent/vmlinux", *memory_);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(kernel.error().message().find("/nonexistent/vmlinux"), std::string::npos);
}

TEST_F(KernelTest, DirectoryIsNoKernel) {
  EXPECT_EQ(LoadKernel("/tmp", *memory_).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(KernelTest, InitrdGoesToTheTopOfMemory) {
  const LoadedKernel kernel{
      BootProtocol::kPvh, layout::kHighRam, GuestAddress{2 << 20}, GuestMemory::kHoleStart, {}};
  const auto start = LoadInitrd(AsBytes("initrd"), kernel, *memory_);
  ASSERT_TRUE(start);
  EXPECT_EQ(start->value, kMemory - 4096);
  EXPECT_EQ(TextAt(start->value, 6), "initrd");
}

TEST_F(KernelTest, InitrdStaysBelowTheKernelsLimit) {
  const LoadedKernel kernel{
      BootProtocol::kLinux64, layout::kHighRam, GuestAddress{2 << 20}, 32 << 20, {}};
  EXPECT_EQ(LoadInitrd(AsBytes("initrd"), kernel, *memory_)->value, (32U << 20) - 4096);
}

TEST_F(KernelTest, InitrdThatWouldOverlapTheKernelIsRefused) {
  const LoadedKernel kernel{BootProtocol::kPvh,
                            layout::kHighRam,
                            GuestAddress{kMemory - 4096},
                            GuestMemory::kHoleStart,
                            {}};
  const std::vector<uint8_t> initrd(5000);
  EXPECT_EQ(LoadInitrd(initrd, kernel, *memory_).error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace mayfly
