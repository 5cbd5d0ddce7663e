#pragma once

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mayfly::init {

// A parsed JSON object. Parsing does not recurse, and the text is capped, because a document takes
// up to some thirty times its text's size in memory and handlers write some of them.
class JsonObject {
 public:
  static constexpr size_t kMaxText = size_t{64} * 1024;

  static Result<JsonObject> Parse(std::span<const uint8_t> text, std::string_view name);

  // The member, or nothing if it is absent or of another type.
  [[nodiscard]] std::optional<std::string> String(const char* key) const;
  [[nodiscard]] std::optional<uint64_t> Integer(const char* key) const;
  [[nodiscard]] std::optional<bool> Bool(const char* key) const;
  // The members of an object of strings; fails on a value of another type. Empty if absent.
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> StringMap(
      const char* key) const;
  // The objects of an array; fails on an element of another type. Empty if absent. Recurses as
  // deep as they do: for what the host sends.
  [[nodiscard]] Result<std::vector<JsonObject>> Objects(const char* key) const;
  // The strings of an array, without what else is in it; empty if absent.
  [[nodiscard]] std::vector<std::string> Strings(const char* key) const;
  // The strings of the array as JSON text; empty if there is no such array.
  [[nodiscard]] std::string ArrayText(const char* key) const;

 private:
  explicit JsonObject(rapidjson::Document document) : document_(std::move(document)) {}
  rapidjson::Document document_;
};

// Writes one flat object.
class JsonWriter {
 public:
  JsonWriter() : writer_(buffer_) { writer_.StartObject(); }
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  // Bytes that are not UTF-8 become U+FFFD, so that the receiver can always parse the text.
  void String(const char* key, std::string_view value);
  void Integer(const char* key, uint64_t value);
  void Bool(const char* key, bool value);
  // `text` is JSON already.
  void Raw(const char* key, std::string_view text);
  std::string Finish();

 private:
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_;
};

// `text` with what is not UTF-8 replaced, and cut to at most `limit` bytes at a character's end.
std::string ValidUtf8(std::string_view text, size_t limit = SIZE_MAX);

}  // namespace mayfly::init
