#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mayfly {

// `text` on one line and of bounded length, for an error message that quotes untrusted input.
std::string Printable(std::string_view text);

class JsonObject;
struct JsonNode;

// One value of a JsonDocument, which must outlive it. The As*() functions refuse another type with
// an error that names the document and the value's path in it.
class JsonValue {
 public:
  [[nodiscard]] Result<std::string> AsString() const;
  [[nodiscard]] Result<bool> AsBool() const;
  // A whole number within [least, most]; 3.0 is not one.
  [[nodiscard]] Result<uint64_t> AsInteger(uint64_t least, uint64_t most) const;
  [[nodiscard]] Result<std::vector<JsonValue>> AsArray(size_t most_elements) const;
  [[nodiscard]] Result<JsonObject> AsObject() const;

  // The error "document: path: what".
  [[nodiscard]] std::unexpected<Error> Refuse(std::string_view what) const;

 private:
  friend class JsonDocument;
  friend class JsonObject;
  struct Source {
    std::string name;
    ErrorCode code;
  };

  JsonValue(const Source* source, std::string path, const JsonNode* node)
      : source_(source), path_(std::move(path)), node_(node) {}
  [[nodiscard]] std::unexpected<Error> WrongType(std::string_view expected) const;

  const Source* source_;
  std::string path_;
  const JsonNode* node_;
};

// The members of an object: ask for those that are known, then refuse the others.
class JsonObject {
 public:
  [[nodiscard]] std::optional<JsonValue> Find(std::string_view key) const;
  [[nodiscard]] Result<JsonValue> Require(std::string_view key) const;
  [[nodiscard]] Result<void> RefuseKeysOtherThan(
      std::initializer_list<std::string_view> known) const;
  // All members, for an object whose keys are data.
  [[nodiscard]] std::vector<std::pair<std::string, JsonValue>> Members() const;

 private:
  friend class JsonValue;
  explicit JsonObject(JsonValue value) : value_(std::move(value)) {}
  [[nodiscard]] JsonValue Child(std::string_view key, const JsonNode& node) const;

  JsonValue value_;
};

// A parsed JSON text from outside, strict: UTF-8, no NUL in it, no key twice in an object. The caps
// bound the time and the memory that a hostile text can take.
class JsonDocument {
 public:
  static constexpr size_t kMostBytes = size_t{1024} * 1024;
  static constexpr size_t kMostDepth = 16;
  static constexpr size_t kMostValues = 65536;

  // `name` stands in front of every error, and `code` is what an error is: kInvalidArgument for
  // what the user wrote, kCorrupt for what a tool wrote. A text above kMostBytes is kTooLarge.
  static Result<JsonDocument> Parse(std::string_view text, std::string name, ErrorCode code);

  JsonDocument(JsonDocument&& other) noexcept;
  JsonDocument& operator=(JsonDocument&& other) noexcept;
  ~JsonDocument();

  [[nodiscard]] JsonValue root() const { return {source_.get(), "", root_.get()}; }

 private:
  JsonDocument(JsonValue::Source source, JsonNode root);

  std::unique_ptr<JsonValue::Source> source_;
  std::unique_ptr<JsonNode> root_;
};

}  // namespace mayfly
