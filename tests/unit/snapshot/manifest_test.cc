#include "snapshot/manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

Manifest SampleManifest() {
  Manifest manifest;
  manifest.mayfly_version = "0.1.0";
  manifest.cpu = "A \"processor\"";
  manifest.memory_bytes = 128 << 20;
  manifest.vcpus = 2;
  manifest.state_table.fill(0x1f);
  manifest.memory_digests.fill(0xa0);
  manifest.disks = {{"/images/f.mfn", 8192, true}, {"/data\n", 1 << 20, false}};
  manifest.nets = {{"tap0"}};
  manifest.function = {{"{\"name\":\"hello\"}", {}}};
  return manifest;
}

Result<Manifest> Parse(std::string_view text) { return Manifest::Parse(text, "manifest.json"); }

// The text that begins with the digest of the rest, as whoever changes it can make it.
std::string Seal(const std::string& body) {
  return fmt::format(R"({{"digest":"{}",{})", ToHex(DigestOf(AsBytes(body))), body);
}

// The sample's text with one piece replaced, and sealed again.
std::string Changed(const std::string& from, const std::string& to) {
  const std::string text = SampleManifest().Serialize();
  std::string body = text.substr(text.find("\"format\""));
  const size_t at = body.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return Seal(body.replace(at, from.size(), to));
}

TEST(ManifestTest, SurvivesItsText) {
  EXPECT_EQ(*Parse(SampleManifest().Serialize()), SampleManifest());
}

TEST(ManifestTest, MachineWithoutAFunctionAndDevicesSurvives) {
  Manifest manifest = SampleManifest();
  manifest.function.reset();
  manifest.disks.clear();
  manifest.nets.clear();
  EXPECT_EQ(*Parse(manifest.Serialize()), manifest);
}

TEST(ManifestTest, ParentSurvives) {
  Manifest manifest = SampleManifest();
  manifest.parent = {"base.snap", Sha256Digest{1}, Sha256Digest{2}};
  EXPECT_EQ(*Parse(manifest.Serialize()), manifest);
  manifest.parent->path = "/snapshots/base.snap";
  EXPECT_EQ(*Parse(manifest.Serialize()), manifest);
}

TEST(ManifestTest, OnlyAManifestWithAParentHasTheFormatOfOne) {
  EXPECT_EQ(CodeOf(Parse(Changed("\"format\":1", "\"format\":2"))), ErrorCode::kCorrupt);
}

TEST(ManifestTest, ParentsThatAreNeitherBesideItNorAbsoluteAreRefused) {
  Manifest manifest = SampleManifest();
  manifest.parent = Manifest::Parent{};
  for (const char* path : {"", ".", "..", "../base", "a/b"}) {
    manifest.parent->path = path;
    EXPECT_EQ(CodeOf(Parse(manifest.Serialize())), ErrorCode::kCorrupt) << path;
  }
}

TEST(ManifestTest, TheDigestIsOfAllBehindIt) {
  EXPECT_EQ(Changed("0.1.0", "0.1.0"), SampleManifest().Serialize());
}

TEST(ManifestTest, EveryTruncationIsRefused) {
  const std::string text = SampleManifest().Serialize();
  for (size_t size = 0; size < text.size(); ++size) {
    ASSERT_EQ(CodeOf(Parse(std::string_view(text).substr(0, size))), ErrorCode::kCorrupt) << size;
  }
}

TEST(ManifestTest, EverySingleBitFlipIsRefused) {
  std::string text = SampleManifest().Serialize();
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ 1 << bit % 8);
    ASSERT_EQ(CodeOf(Parse(text)), ErrorCode::kCorrupt) << "bit " << bit;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ 1 << bit % 8);
  }
}

TEST(ManifestTest, AnotherFormatIsUnsupportedAndBothAreNamed) {
  const auto manifest = Parse(Changed("\"format\":1", "\"format\":3"));
  EXPECT_EQ(CodeOf(manifest), ErrorCode::kUnsupported);
  EXPECT_EQ(MessageOf(manifest), "manifest.json: snapshot format 3, this mayfly reads 1 and 2");
}

TEST(ManifestTest, FieldsOfAnotherFormatDoNotMatter) {
  EXPECT_EQ(CodeOf(Parse(Seal("\"format\":3,\"anything\":[]}\n"))), ErrorCode::kUnsupported);
}

TEST(ManifestTest, ValuesOutOfRangeAreRefused) {
  const auto refused = [](const std::string& from, const std::string& to) {
    return CodeOf(Parse(Changed(from, to))) == ErrorCode::kCorrupt;
  };
  EXPECT_TRUE(refused("\"vcpus\":2", "\"vcpus\":0"));
  EXPECT_TRUE(refused("\"vcpus\":2", "\"vcpus\":33"));
  EXPECT_TRUE(refused("\"vcpus\":2", "\"vcpus\":-1"));
  EXPECT_TRUE(refused("\"memory_bytes\":134217728", "\"memory_bytes\":0"));
  EXPECT_TRUE(refused("\"memory_bytes\":134217728", "\"memory_bytes\":18446744073709551615"));
  EXPECT_TRUE(
      refused("\"memory_bytes\":134217728", "\"memory_bytes\":134217729"));  // Not whole pages.
  EXPECT_TRUE(refused("\"bytes\":8192", "\"bytes\":18446744073709551615"));
  EXPECT_TRUE(refused("1f1f", "1f1"));
  EXPECT_TRUE(refused("1f1f", "1F1f"));
  EXPECT_TRUE(refused("1f1f", "1g1f"));
}

TEST(ManifestTest, MissingAndUnknownAndRepeatedKeysAreRefused) {
  EXPECT_TRUE(Mentions(MessageOf(Parse(Changed("\"vcpus\":2,", ""))), "vcpus"));
  EXPECT_EQ(CodeOf(Parse(Changed("\"vcpus\":2,", "\"vcpus\":2,\"more\":1,"))), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Parse(Changed("\"vcpus\":2,", "\"vcpus\":2,\"vcpus\":2,"))),
            ErrorCode::kCorrupt);
}

// One text for one manifest, so that its digest names it.
TEST(ManifestTest, AnotherSpellingIsRefused) {
  EXPECT_TRUE(Mentions(MessageOf(Parse(Changed("\"vcpus\":2", "\"vcpus\": 2"))),
                       "not in the form that mayfly writes"));
  EXPECT_EQ(CodeOf(Parse(Changed("tap0", "t\\u0061p0"))), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Parse(SampleManifest().Serialize() + "\n")), ErrorCode::kCorrupt);
}

TEST(ManifestTest, MoreDevicesThanThereCanBeAreRefused) {
  Manifest manifest = SampleManifest();
  manifest.nets.resize(Manifest::kMostNets + 1);
  EXPECT_EQ(CodeOf(Parse(manifest.Serialize())), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace mayfly
