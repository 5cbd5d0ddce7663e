#include "vmm/function/image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"
#include "vmm/function/image_verifier.h"

namespace mayfly {
namespace {

constexpr size_t kBlock = 4096;
constexpr size_t kTrailerDigestAt = kBlock - 32;

// Two blocks that pass for an EROFS file system of two blocks.
std::vector<uint8_t> SmallFileSystem() {
  std::vector<uint8_t> image(2 * kBlock, 0x5a);
  StoreLe<uint32_t>(std::span(image).subspan(1024), 0xe0f5e1e2);
  image[1024 + 12] = 12;
  StoreLe<uint32_t>(std::span(image).subspan(1024 + 36), 2);
  return image;
}

std::vector<uint8_t> WholeFile(const FunctionDescription& description) {
  std::vector<uint8_t> file = SmallFileSystem();
  const std::vector<uint8_t> tail =
      EncodeFunctionImageTail(file.size(), DigestOf(file), description);
  file.insert(file.end(), tail.begin(), tail.end());
  return file;
}

std::vector<uint8_t> WholeFile() { return WholeFile({.name = "f", .handler = "handler.so"}); }

std::span<uint8_t> TrailerOf(std::vector<uint8_t>& file) { return std::span(file).last(kBlock); }

// What somebody who changes a trailer on purpose does as well.
void Reseal(std::span<uint8_t> trailer) {
  StoreLe(trailer.subspan(kTrailerDigestAt), DigestOf(trailer.first(kTrailerDigestAt)));
}

Result<FunctionImage> OpenBytes(const Scratch& scratch, std::span<const uint8_t> bytes) {
  return FunctionImage::Open(scratch.Write("f.mfn", AsText(bytes)));
}

// The error of opening a file whose trailer holds `value` at `offset`, under a right digest.
template <class T>
std::string FaultOfField(size_t offset, T value) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  StoreLe(TrailerOf(file).subspan(offset), value);
  Reseal(TrailerOf(file));
  const auto image = OpenBytes(scratch, file);
  EXPECT_EQ(CodeOf(image), ErrorCode::kCorrupt);
  return MessageOf(image);
}

// The error of opening a file with `json` for a description, under right digests.
std::string FaultOfDescription(std::string_view json) {
  const Scratch scratch;
  std::vector<uint8_t> file = SmallFileSystem();
  std::vector<uint8_t> tail =
      EncodeFunctionImageTail(file.size(), DigestOf(file), {.name = "f", .handler = "h"});
  std::ranges::fill(std::span(tail).first(kBlock), uint8_t{0});
  std::ranges::copy(json, tail.begin());
  const std::span<uint8_t> trailer = std::span(tail).last(kBlock);
  StoreLe(trailer.subspan(32), static_cast<uint32_t>(json.size()));
  StoreLe(trailer.subspan(80), DigestOf(AsBytes(json)));
  Reseal(trailer);
  file.insert(file.end(), tail.begin(), tail.end());
  const auto image = OpenBytes(scratch, file);
  EXPECT_EQ(CodeOf(image), ErrorCode::kCorrupt);
  return MessageOf(image);
}

TEST(FunctionImageTest, OpensWhatWasWritten) {
  const Scratch scratch;
  const FunctionDescription description{
      .name = "f", .handler = "h.so", .environment = {{"A", "b"}}, .memory_mib = 512};
  const auto image = OpenBytes(scratch, WholeFile(description));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->description(), description);
  EXPECT_EQ(image->layout().image_size, 2 * kBlock);
  EXPECT_TRUE(image->Verify());
}

TEST(FunctionImageTest, DescriptionOfSeveralBlocksIsRead) {
  const Scratch scratch;
  const FunctionDescription description{
      .name = "f", .handler = "h", .environment = {{"A", std::string(4000, '\x02')}}};
  const auto image = OpenBytes(scratch, WholeFile(description));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->description(), description);
}

TEST(FunctionImageTest, EveryBitOfTheTrailerCounts) {
  std::vector<uint8_t> file = WholeFile();
  const std::span<uint8_t> trailer = TrailerOf(file);
  size_t accepted = 0;
  for (size_t bit = 0; bit < kBlock * 8; ++bit) {
    trailer[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    accepted += DecodeFunctionImageTrailer(trailer, file.size(), "f").has_value() ? 1 : 0;
    trailer[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
  }
  EXPECT_EQ(accepted, 0u);
  EXPECT_TRUE(DecodeFunctionImageTrailer(trailer, file.size(), "f"));
}

TEST(FunctionImageTest, EveryTruncationIsRefused) {
  const Scratch scratch;
  const std::vector<uint8_t> file = WholeFile();
  for (const size_t length :
       {size_t{0}, size_t{1}, size_t{1023}, kBlock - 1, kBlock, kBlock + 1, 2 * kBlock,
        3 * kBlock - 1, 3 * kBlock, 3 * kBlock + 1, file.size() - 2, file.size() - 1}) {
    const auto image = OpenBytes(scratch, std::span(file).first(length));
    EXPECT_EQ(CodeOf(image), ErrorCode::kCorrupt) << length;
    EXPECT_TRUE(Mentions(MessageOf(image), "f.mfn: not a function image")) << length;
  }
}

TEST(FunctionImageTest, BytesBehindTheTrailerAreRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file.resize(file.size() + kBlock);
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)), "does not end with a trailer"));
}

TEST(FunctionImageTest, BytesBeforeTheImageAreRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file.insert(file.begin(), kBlock, 0);
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)),
                       "trailer: file size 16384, the file "
                       "has 20480 bytes"));
}

TEST(FunctionImageTest, OtherKindsOfFileAreRefused) {
  const Scratch scratch;
  EXPECT_TRUE(Mentions(MessageOf(FunctionImage::Open("/bin/true")), "not a function image"));
  EXPECT_EQ(CodeOf(FunctionImage::Open(scratch.path())), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(FunctionImage::Open("/dev/null")), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(FunctionImage::Open(scratch / "absent.mfn")), ErrorCode::kNotFound);
}

TEST(FunctionImageTest, FifoIsRefusedWithoutWaiting) {
  const Scratch scratch;
  ASSERT_EQ(::mkfifo((scratch / "f").c_str(), 0600), 0);
  EXPECT_TRUE(Mentions(MessageOf(FunctionImage::Open(scratch / "f")), "not a regular file"));
}

TEST(FunctionImageTest, OtherVersionIsRefusedWithBothVersions) {
  EXPECT_TRUE(
      Mentions(FaultOfField<uint32_t>(8, 2), "format version 2, this mayfly reads version 1"));
}

TEST(FunctionImageTest, HostileTrailerFieldsAreRefused) {
  EXPECT_TRUE(Mentions(FaultOfField<uint32_t>(12, 512), "trailer size"));
  EXPECT_TRUE(Mentions(FaultOfField<uint64_t>(16, 0), "image size 0"));
  EXPECT_TRUE(Mentions(FaultOfField<uint64_t>(16, 2 * kBlock + 1), "image size"));
  EXPECT_TRUE(Mentions(FaultOfField<uint64_t>(16, 3 * kBlock), "image size"));
  EXPECT_TRUE(Mentions(FaultOfField<uint64_t>(16, ~uint64_t{0} - 4095), "image size"));
  EXPECT_TRUE(Mentions(FaultOfField<uint64_t>(24, 0), "description offset"));
  EXPECT_TRUE(Mentions(FaultOfField<uint32_t>(32, 0), "description size 0"));
  EXPECT_TRUE(Mentions(FaultOfField<uint32_t>(32, 65537), "description size 65537"));
  EXPECT_TRUE(Mentions(FaultOfField<uint32_t>(32, 0xffffffff), "description size 4294967295"));
  EXPECT_TRUE(Mentions(FaultOfField<uint32_t>(32, 65536), "image size"));
  EXPECT_TRUE(Mentions(FaultOfField<uint32_t>(36, 1), "reserved"));
  EXPECT_TRUE(Mentions(FaultOfField<uint64_t>(40, 0), "file size 0"));
  EXPECT_TRUE(Mentions(FaultOfField<uint8_t>(112, 1), "reserved"));
  EXPECT_TRUE(Mentions(FaultOfField<uint8_t>(80, 1), "description: its digest"));
}

TEST(FunctionImageTest, ChangedDescriptionIsRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file[2 * kBlock + 10] ^= 1;
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)), "description: its digest"));
}

TEST(FunctionImageTest, BytesBehindTheDescriptionAreRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file[3 * kBlock - 1] = 1;
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)), "the padding behind it"));
}

TEST(FunctionImageTest, HostileDescriptionUnderRightDigestsIsRefused) {
  EXPECT_TRUE(Mentions(FaultOfDescription("{"), "f.mfn: description: not JSON"));
  EXPECT_TRUE(Mentions(FaultOfDescription(std::string(4000, '[')), "nested more than"));
  EXPECT_TRUE(Mentions(FaultOfDescription(R"({"name":"f","kind":"native","memory_mib":1e300})"),
                       "/memory_mib: expected"));
  EXPECT_TRUE(Mentions(FaultOfDescription(R"({"name":"f","kind":"native","handler":"../../x"})"),
                       "/handler: expected"));
  EXPECT_TRUE(Mentions(FaultOfDescription(R"({"name":"f","kind":"native","extra":1})"),
                       "/extra: unknown key"));
}

TEST(FunctionImageTest, ChangedImageIsFoundByVerify) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file[5000] ^= 0x80;
  const auto image = OpenBytes(scratch, file);
  ASSERT_TRUE(image);
  EXPECT_EQ(CodeOf(image->Verify()), ErrorCode::kCorrupt);
  EXPECT_TRUE(Mentions(MessageOf(image->Verify()), "image: its digest"));
}

TEST(ImageVerifierTest, SaysWhatVerifySays) {
  const Scratch scratch;
  ImageVerifier good(*OpenBytes(scratch, WholeFile()));
  std::vector<uint8_t> file = WholeFile();
  file[5000] ^= 0x80;
  const Scratch other;
  ImageVerifier bad(*OpenBytes(other, file));
  EXPECT_TRUE(good.Wait());
  EXPECT_EQ(CodeOf(bad.Wait()), ErrorCode::kCorrupt);
}

TEST(ImageVerifierTest, EndsWithoutBeingAsked) {
  const Scratch scratch;
  const ImageVerifier verifier(*OpenBytes(scratch, WholeFile()));
}

TEST(FunctionImageTest, OtherFileSystemIsRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file[1024] = 0;
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)), "no EROFS"));
}

TEST(FunctionImageTest, FileSystemLargerThanItsPlaceIsRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  StoreLe<uint32_t>(std::span(file).subspan(1024 + 36), 0xffffffff);
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)), "larger than its place"));
}

TEST(FunctionImageTest, OtherBlockSizeIsRefused) {
  const Scratch scratch;
  std::vector<uint8_t> file = WholeFile();
  file[1024 + 12] = 63;
  EXPECT_TRUE(Mentions(MessageOf(OpenBytes(scratch, file)), "block size 2^63"));
}

}  // namespace
}  // namespace mayfly
