#include "guest-init/http_parser.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace mayfly::init {
namespace {

using Status = HttpParser::Status;

constexpr uint64_t kBodyLimit = 10;

class HttpParserTest : public testing::Test {
 protected:
  // Everything at once, and what is left of it.
  Status Parse(std::string_view text) {
    std::span<const uint8_t> bytes = AsBytes(text);
    Status status = Status::kNeedMore;
    while (!bytes.empty() && status == Status::kNeedMore) status = parser_.Advance(bytes);
    left_ = AsText(bytes);
    return status;
  }

  HttpParser parser_{[](const HttpRequest&) { return kBodyLimit; }};
  std::string left_;
};

TEST_F(HttpParserTest, GetHasMethodTargetAndHeaders) {
  EXPECT_EQ(Parse("GET /a/b?c HTTP/1.1\r\nHost: x\r\nX-Two:  2 \r\n\r\n"), Status::kComplete);
  EXPECT_EQ(parser_.request().method, "GET");
  EXPECT_EQ(parser_.request().target, "/a/b?c");
  EXPECT_EQ(parser_.request().Header("x-two"), "2");
  EXPECT_TRUE(parser_.request().keep_alive);
}

TEST_F(HttpParserTest, BodyOfDeclaredLengthEndsTheRequest) {
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET"), Status::kComplete);
  EXPECT_EQ(AsText(parser_.request().body), "abc");
  EXPECT_EQ(left_, "GET");
}

TEST_F(HttpParserTest, OneByteAtATimeGivesTheSameRequest) {
  const std::string_view text =
      "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nab\r\n1\r\nc\r\n0\r\nT: v\r\n\r\n";
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    ASSERT_EQ(Parse(text.substr(i, 1)), Status::kNeedMore) << i;
  }
  EXPECT_EQ(Parse(text.substr(text.size() - 1)), Status::kComplete);
  EXPECT_EQ(AsText(parser_.request().body), "abc");
  EXPECT_EQ(parser_.request().Trailer("t"), "v");
}

TEST_F(HttpParserTest, PipelinedRequestsComeOneAfterTheOther) {
  EXPECT_EQ(Parse("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), Status::kComplete);
  EXPECT_EQ(parser_.request().target, "/1");
  parser_.Next();
  const std::string rest = left_;
  EXPECT_EQ(Parse(rest), Status::kComplete);
  EXPECT_EQ(parser_.request().target, "/2");
  EXPECT_EQ(left_, "");
}

TEST_F(HttpParserTest, Http10ClosesAndConnectionCloseDoesToo) {
  EXPECT_EQ(Parse("GET / HTTP/1.0\r\n\r\n"), Status::kComplete);
  EXPECT_FALSE(parser_.request().keep_alive);
  parser_.Next();
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), Status::kComplete);
  EXPECT_FALSE(parser_.request().keep_alive);
}

TEST_F(HttpParserTest, DeclaredLengthAboveTheLimitIsKnownWithTheHead) {
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n"), Status::kNeedMore);
  EXPECT_TRUE(parser_.oversized());
  EXPECT_EQ(Parse("12345678901"), Status::kComplete);
  EXPECT_TRUE(parser_.request().body.empty());
}

TEST_F(HttpParserTest, ChunksAboveTheLimitAreReadAndNotKept) {
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nTransfer-Encoding: "
                  "chunked\r\n\r\n8\r\n12345678\r\n"),
            Status::kNeedMore);
  EXPECT_FALSE(parser_.oversized());
  EXPECT_EQ(Parse("3\r\nabc\r\n0\r\n\r\n"), Status::kComplete);
  EXPECT_TRUE(parser_.oversized());
  EXPECT_TRUE(parser_.request().body.empty());
}

TEST_F(HttpParserTest, BodyOfExactlyTheLimitIsKept) {
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1234567890"), Status::kComplete);
  EXPECT_FALSE(parser_.oversized());
  EXPECT_EQ(parser_.request().body.size(), kBodyLimit);
}

TEST_F(HttpParserTest, UpgradeIsIgnored) {
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
            Status::kComplete);
}

TEST_F(HttpParserTest, InRequestOnlyBetweenFirstAndLastByte) {
  EXPECT_FALSE(parser_.in_request());
  Parse("GET / HT");
  EXPECT_TRUE(parser_.in_request());
  Parse("TP/1.1\r\n\r\n");
  EXPECT_FALSE(parser_.in_request());
}

TEST_F(HttpParserTest, HeadersWithoutEndAreCut) {
  Parse("GET / HTTP/1.1\r\n");
  const std::string header = "X: " + std::string(1000, 'x') + "\r\n";
  Status status = Status::kNeedMore;
  for (int i = 0; i < 100 && status == Status::kNeedMore; ++i) status = Parse(header);
  EXPECT_EQ(status, Status::kBad);
  EXPECT_EQ(parser_.error_status(), 431);
}

TEST_F(HttpParserTest, ManyTinyHeadersAreCutByWhatTheyCost) {
  Parse("GET / HTTP/1.1\r\n");
  int count = 0;
  while (count < 10'000 && Parse("a:\r\n") == Status::kNeedMore) ++count;
  EXPECT_LT(count, 1100);
}

TEST_F(HttpParserTest, TrailersWithoutEndAreCut) {
  Parse("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
  int count = 0;
  while (count < 10'000 && Parse("a: b\r\n") == Status::kNeedMore) ++count;
  EXPECT_LT(count, 1100);
}

class HttpParserHostileTest : public testing::TestWithParam<const char*> {};

TEST_P(HttpParserHostileTest, IsRefused) {
  HttpParser parser([](const HttpRequest&) { return kBodyLimit; });
  std::span<const uint8_t> bytes = AsBytes(GetParam());
  EXPECT_EQ(parser.Advance(bytes), Status::kBad);
}

INSTANTIATE_TEST_SUITE_P(
    Requests, HttpParserHostileTest,
    testing::Values("\x16\x03\x01\x02", "GET  HTTP/1.1\r\n\r\n", "GET / HTTP/3.0\r\n\r\n",
                    "GET / HTTP/2.0\r\n\r\n", "GET /\r\n\r\n", "FETCH / HTTP/1.1\r\n\r\n",
                    "CONNECT a:1 HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nA B: c\r\n\r\n",
                    "GET / HTTP/1.1\r\nA\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                    "POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
                    "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                    "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                    "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n",
                    "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
                    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                    "POST / HTTP/1.1\r\nTransfer-Encoding: "
                    "chunked\r\n\r\nfffffffffffffffff\r\n"));

}  // namespace
}  // namespace mayfly::init
