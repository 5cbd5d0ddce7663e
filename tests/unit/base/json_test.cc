#include "base/json.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

Result<JsonDocument> Parse(std::string_view text) {
  return JsonDocument::Parse(text, "x.json", ErrorCode::kInvalidArgument);
}

std::string FaultIn(std::string_view text) { return MessageOf(Parse(text)); }

JsonObject Root(const JsonDocument& document) { return *document.root().AsObject(); }

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(JsonTest, ReadsEveryType) {
  const auto document = Parse(R"({"s": "text", "b": true, "n": 7, "a": [1, 2], "o": {"k": "v"}})");
  ASSERT_TRUE(document);
  EXPECT_EQ(*Root(*document).Find("s")->AsString(), "text");
  EXPECT_EQ(*Root(*document).Find("b")->AsBool(), true);
  EXPECT_EQ(*Root(*document).Find("n")->AsInteger(0, 10), 7u);
  EXPECT_EQ(Root(*document).Find("a")->AsArray(2)->size(), 2u);
  EXPECT_EQ(Root(*document).Find("o")->AsObject()->Members()[0].first, "k");
  EXPECT_FALSE(Root(*document).Find("absent"));
}

TEST(JsonTest, WrongTypeNamesThePathAndBothTypes) {
  const auto document = Parse(R"({"environment": {"FOO": 3}})");
  const auto environment = Root(*document).Find("environment")->AsObject();
  EXPECT_EQ(MessageOf(environment->Find("FOO")->AsString()),
            "x.json: /environment/FOO: expected a string, found a number");
}

TEST(JsonTest, WrongTypeInAnArrayNamesTheIndex) {
  const auto document = Parse(R"({"include": ["/a", null]})");
  const auto elements = Root(*document).Find("include")->AsArray(8);
  EXPECT_EQ(MessageOf((*elements)[1].AsString()),
            "x.json: /include/1: expected a string, found null");
}

TEST(JsonTest, WrongTypeOfTheWholeIsSaid) {
  EXPECT_EQ(MessageOf(Parse("[]")->root().AsObject()),
            "x.json: the document: expected an object, found an array");
}

TEST(JsonTest, MissingKeyNamesThePath) {
  EXPECT_EQ(MessageOf(Root(*Parse("{}")).Require("name")), "x.json: /name: is missing");
}

TEST(JsonTest, UnknownKeyNamesThePathAndTheKnownKeys) {
  EXPECT_EQ(MessageOf(Root(*Parse(R"({"nmae": 1})")).RefuseKeysOtherThan({"name", "kind"})),
            "x.json: /nmae: unknown key (known here: name, kind)");
}

TEST(JsonTest, KeyTwiceIsRefusedAtItsPath) {
  EXPECT_EQ(FaultIn(R"({"a": {"k/~": 1, "x": 2, "k/~": 3}})"),
            "x.json: /a/k~1~0: stands here twice");
}

TEST(JsonTest, SyntaxErrorNamesTheLine) {
  EXPECT_TRUE(Mentions(FaultIn("{\n\"a\": 1\n\"b\": 2}"), "x.json: not JSON: line 3: "));
}

TEST(JsonTest, TruncatedTextIsRefused) {
  EXPECT_TRUE(Mentions(FaultIn("{\"a\": [1, 2"), "not JSON"));
  EXPECT_TRUE(Mentions(FaultIn(""), "not JSON"));
}

TEST(JsonTest, TextBehindTheDocumentIsRefused) {
  EXPECT_TRUE(Mentions(FaultIn("{} {}"), "not JSON"));
  EXPECT_TRUE(Mentions(FaultIn(std::string_view("{}\0x", 4)), "NUL byte"));
}

TEST(JsonTest, NulCharacterIsRefusedInKeysAndValues) {
  EXPECT_EQ(FaultIn(R"({"a": ["x", "\u0000"]})"), "x.json: /a/1: holds a NUL character");
  EXPECT_EQ(FaultIn(R"({"\u0000k": 1})"), "x.json: /\\x00k: holds a NUL character");
}

TEST(JsonTest, InvalidUtf8IsRefused) {
  EXPECT_TRUE(Mentions(FaultIn("{\"a\": \"\xff\xfe\"}"), "not JSON"));
  EXPECT_TRUE(Mentions(FaultIn("{\"a\": \"\xed\xa0\x80\"}"), "not JSON"));
  EXPECT_TRUE(Mentions(FaultIn(R"({"a": "\ud800"})"), "not JSON"));
}

TEST(JsonTest, NestingIsBounded) {
  EXPECT_TRUE(Parse(Nested(JsonDocument::kMostDepth)));
  EXPECT_EQ(FaultIn(Nested(JsonDocument::kMostDepth + 1)),
            "x.json: nested more than 16 levels deep");
  EXPECT_EQ(FaultIn(Nested(100'000)), "x.json: nested more than 16 levels deep");
}

TEST(JsonTest, ValuesAndBytesAreBounded) {
  std::string many = "[0";
  many.reserve(200'000);
  while (many.size() < 2 * JsonDocument::kMostValues + 10) many += ",0";
  EXPECT_EQ(FaultIn(many + "]"), "x.json: more than 65536 values");
  EXPECT_EQ(CodeOf(Parse(std::string(JsonDocument::kMostBytes + 1, ' '))), ErrorCode::kTooLarge);
}

TEST(JsonTest, NumbersOutsideOfTheRangeAreRefused) {
  const auto fault = [](const std::string& number) {
    return MessageOf(Parse("[" + number + "]")->root().AsArray(1)->front().AsInteger(1, 64));
  };
  const std::string expected = "x.json: /0: expected a whole number from 1 to 64";
  EXPECT_EQ(fault("0"), expected);
  EXPECT_EQ(fault("65"), expected);
  EXPECT_EQ(fault("-1"), expected);
  EXPECT_EQ(fault("3.5"), expected);
  EXPECT_EQ(fault("3e0"), expected);
  EXPECT_EQ(fault("18446744073709551616"), expected);
  EXPECT_TRUE(Mentions(FaultIn("[1e400]"), "not JSON"));
}

TEST(JsonTest, WholeRangeOfIntegersIsRead) {
  const auto document = Parse("[18446744073709551615]");
  EXPECT_EQ(*document->root().AsArray(1)->front().AsInteger(0, UINT64_MAX), UINT64_MAX);
}

TEST(JsonTest, ErrorCarriesTheDocumentsCode) {
  EXPECT_EQ(CodeOf(JsonDocument::Parse("{", "x", ErrorCode::kCorrupt)), ErrorCode::kCorrupt);
}

TEST(JsonTest, HostileKeysStayOnOneShortLine) {
  const std::string fault = FaultIn("{\"" + std::string(5000, 'k') + "\\n\\n\": 1, \"a\": \"");
  EXPECT_LT(fault.size(), 200u);
  EXPECT_EQ(Printable("a\nb\x1b"), "a\\x0ab\\x1b");
}

}  // namespace
}  // namespace mayfly
