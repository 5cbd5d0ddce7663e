#include "base/sha256.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

// FIPS 180-4's example, and the digest of nothing.
constexpr char kOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kOfNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Sha256Test, KnownAnswers) {
  EXPECT_EQ(ToHex(DigestOf(AsBytes("abc"))), kOfAbc);
  EXPECT_EQ(ToHex(DigestOf({})), kOfNothing);
}

TEST(Sha256Test, PiecesGiveTheSameDigest) {
  Sha256 hash;
  hash.Add(AsBytes("a"));
  hash.Add({});
  hash.Add(AsBytes("bc"));
  EXPECT_EQ(ToHex(hash.Finish()), kOfAbc);
}

TEST(Sha256Test, FileIsReadUpToTheLength) {
  const Scratch scratch;
  const auto file = OpenFile(scratch.Write("f", "abcdef"), O_RDONLY);
  EXPECT_EQ(ToHex(*DigestOfFile(file->get(), 3, "f")), kOfAbc);
}

TEST(Sha256Test, FileLargerThanTheBufferIsReadWhole) {
  const Scratch scratch;
  const std::string text(600'000, 'x');
  const auto file = OpenFile(scratch.Write("f", text), O_RDONLY);
  EXPECT_EQ(*DigestOfFile(file->get(), text.size(), "f"), DigestOf(AsBytes(text)));
}

TEST(Sha256Test, ShortFileIsCorrupt) {
  const Scratch scratch;
  const auto file = OpenFile(scratch.Write("f", "ab"), O_RDONLY);
  EXPECT_EQ(CodeOf(DigestOfFile(file->get(), 3, "f")), ErrorCode::kCorrupt);
}

TEST(Sha256Test, ARequestToStopEndsTheReading) {
  const Scratch scratch;
  const auto file = OpenFile(scratch.Write("f", "abc"), O_RDONLY);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(CodeOf(DigestOfFile(file->get(), 3, "f", stop.get_token())), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace mayfly
