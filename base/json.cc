#include "base/json.h"

#include <fmt/format.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <variant>

namespace mayfly {

// A number that is not a whole one from 0 to 2^64 - 1 keeps no value: nobody asks for it.
struct JsonNumber {
  std::optional<uint64_t> whole;
};

// A tree of our own, so that the caps hold, and repeated keys are found, while the text is parsed.
struct JsonNode {
  using Array = std::vector<JsonNode>;
  using Object = std::vector<std::pair<std::string, JsonNode>>;

  std::variant<std::nullptr_t, bool, JsonNumber, std::string, Array, Object> value;
};

namespace {

constexpr size_t kMostQuoted = 80;

std::string_view TypeName(const JsonNode& node) {
  constexpr std::string_view kNames[] = {"null",     "a boolean", "a number",
                                         "a string", "an array",  "an object"};
  return kNames[node.value.index()];
}

// One reference token of a JSON pointer (RFC 6901, section 3).
std::string PointerToken(std::string_view key) {
  std::string token;
  for (const char c : Printable(key)) {
    if (c == '~') {
      token += "~0";
    } else if (c == '/') {
      token += "~1";
    } else {
      token += c;
    }
  }
  return token;
}

std::string Describe(std::string_view path) {
  return path.empty() ? "the document" : std::string(path);
}

// Takes the parser's events and builds the tree. A false return ends the parsing; fault() says why.
class TreeBuilder {
 public:
  [[nodiscard]] const std::string& fault() const { return fault_; }
  [[nodiscard]] JsonNode TakeRoot() { return std::move(root_); }

  bool Null() { return Add({nullptr}); }
  bool Bool(bool value) { return Add({value}); }
  bool Int(int value) { return Int64(value); }
  bool Uint(unsigned value) { return Uint64(value); }
  bool Int64(int64_t value) {
    return value < 0 ? AddFraction() : Uint64(static_cast<uint64_t>(value));
  }
  bool Uint64(uint64_t value) { return Add({JsonNumber{value}}); }
  bool Double(double) { return AddFraction(); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return AddFraction(); }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view value(text, length);
    return CheckText(value) && Add({std::string(value)});
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view key(text, length);
    open_.back().key = key;
    return CheckText(key);
  }
  bool StartObject() { return Open({JsonNode::Object()}); }
  bool StartArray() { return Open({JsonNode::Array()}); }
  bool EndArray(rapidjson::SizeType) { return Close(); }
  bool EndObject(rapidjson::SizeType) {
    const auto& members = std::get<JsonNode::Object>(open_.back().node.value);
    std::vector<std::string_view> keys;
    keys.reserve(members.size());
    for (const auto& [key, value] : members) keys.push_back(key);
    std::ranges::sort(keys);
    const auto twice = std::ranges::adjacent_find(keys);
    if (twice == keys.end()) return Close();
    open_.back().key = *twice;
    return FailHere("stands here twice");
  }

 private:
  // A container whose end has not come yet, and the key or the index of what comes next in it.
  struct OpenNode {
    JsonNode node;
    std::string key;
  };

  bool AddFraction() { return Add({JsonNumber{}}); }

  bool Add(JsonNode node) {
    if (++values_ > JsonDocument::kMostValues) {
      fault_ = fmt::format("more than {} values", JsonDocument::kMostValues);
      return false;
    }
    Put(std::move(node));
    return true;
  }

  void Put(JsonNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (auto* elements = std::get_if<JsonNode::Array>(&open_.back().node.value)) {
      elements->push_back(std::move(node));
    } else {
      std::get<JsonNode::Object>(open_.back().node.value)
          .emplace_back(std::move(open_.back().key), std::move(node));
    }
  }

  bool Open(JsonNode node) {
    if (open_.size() == JsonDocument::kMostDepth) {
      fault_ = fmt::format("nested more than {} levels deep", JsonDocument::kMostDepth);
      return false;
    }
    open_.push_back({std::move(node), {}});
    return true;
  }

  bool Close() {
    JsonNode node = std::move(open_.back().node);
    open_.pop_back();
    return Add(std::move(node));
  }

  // A NUL would cut the text short wherever it becomes a C string.
  bool CheckText(std::string_view text) {
    return text.find('\0') == std::string_view::npos || FailHere("holds a NUL character");
  }

  bool FailHere(std::string_view what) {
    std::string path;
    for (const OpenNode& open : open_) {
      const auto* elements = std::get_if<JsonNode::Array>(&open.node.value);
      path += '/';
      path += elements != nullptr ? std::to_string(elements->size()) : PointerToken(open.key);
    }
    fault_ = fmt::format("{}: {}", Describe(path), what);
    return false;
  }

  JsonNode root_;
  std::vector<OpenNode> open_;
  size_t values_ = 0;
  std::string fault_;
};

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable;
  for (const char c : text.substr(0, kMostQuoted)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      printable += fmt::format("\\x{:02x}", byte);
    } else {
      printable += c;
    }
  }
  if (text.size() > kMostQuoted) printable += "...";
  return printable;
}

Result<std::string> JsonValue::AsString() const {
  const auto* text = std::get_if<std::string>(&node_->value);
  if (text == nullptr) return WrongType("a string");
  return *text;
}

Result<bool> JsonValue::AsBool() const {
  const auto* value = std::get_if<bool>(&node_->value);
  if (value == nullptr) return WrongType("true or false");
  return *value;
}

Result<uint64_t> JsonValue::AsInteger(uint64_t least, uint64_t most) const {
  const auto* number = std::get_if<JsonNumber>(&node_->value);
  if (number == nullptr) return WrongType("a whole number");
  if (!number->whole || *number->whole < least || *number->whole > most) {
    return Refuse(fmt::format("expected a whole number from {} to {}", least, most));
  }
  return *number->whole;
}

Result<std::vector<JsonValue>> JsonValue::AsArray(size_t most_elements) const {
  const auto* elements = std::get_if<JsonNode::Array>(&node_->value);
  if (elements == nullptr) return WrongType("an array");
  if (elements->size() > most_elements) {
    return Refuse(
        fmt::format("{} elements, {} are the most allowed", elements->size(), most_elements));
  }
  std::vector<JsonValue> values;
  values.reserve(elements->size());
  for (size_t i = 0; i < elements->size(); ++i) {
    values.push_back(JsonValue(source_, fmt::format("{}/{}", path_, i), &(*elements)[i]));
  }
  return values;
}

Result<JsonObject> JsonValue::AsObject() const {
  if (!std::holds_alternative<JsonNode::Object>(node_->value)) return WrongType("an object");
  return JsonObject(*this);
}

std::unexpected<Error> JsonValue::Refuse(std::string_view what) const {
  return Fail(source_->code, fmt::format("{}: {}: {}", source_->name, Describe(path_), what));
}

std::unexpected<Error> JsonValue::WrongType(std::string_view expected) const {
  return Refuse(fmt::format("expected {}, found {}", expected, TypeName(*node_)));
}

JsonValue JsonObject::Child(std::string_view key, const JsonNode& node) const {
  return {value_.source_, value_.path_ + "/" + PointerToken(key), &node};
}

std::optional<JsonValue> JsonObject::Find(std::string_view key) const {
  for (const auto& [name, node] : std::get<JsonNode::Object>(value_.node_->value)) {
    if (name == key) return Child(name, node);
  }
  return std::nullopt;
}

Result<JsonValue> JsonObject::Require(std::string_view key) const {
  auto value = Find(key);
  if (!value) return Child(key, *value_.node_).Refuse("is missing");
  return *std::move(value);
}

Result<void> JsonObject::RefuseKeysOtherThan(std::initializer_list<std::string_view> known) const {
  for (const auto& [name, node] : std::get<JsonNode::Object>(value_.node_->value)) {
    if (std::ranges::find(known, name) != known.end()) continue;
    return Child(name, node)
        .Refuse(fmt::format("unknown key (known here: {})", fmt::join(known, ", ")));
  }
  return {};
}

std::vector<std::pair<std::string, JsonValue>> JsonObject::Members() const {
  std::vector<std::pair<std::string, JsonValue>> members;
  for (const auto& [name, node] : std::get<JsonNode::Object>(value_.node_->value)) {
    members.emplace_back(name, Child(name, node));
  }
  return members;
}

JsonDocument::JsonDocument(JsonValue::Source source, JsonNode root)
    : source_(std::make_unique<JsonValue::Source>(std::move(source))),
      root_(std::make_unique<JsonNode>(std::move(root))) {}

JsonDocument::JsonDocument(JsonDocument&& other) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&& other) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> JsonDocument::Parse(std::string_view text, std::string name, ErrorCode code) {
  if (text.size() > kMostBytes) {
    return Fail(ErrorCode::kTooLarge, fmt::format("{}: {} bytes of JSON, {} are the most allowed",
                                                  name, text.size(), kMostBytes));
  }
  // RapidJSON takes a NUL for the end of the text and would not see what follows.
  if (text.find('\0') != std::string_view::npos) {
    return Fail(code, name + ": not JSON: holds a NUL byte");
  }

  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag |
                              rapidjson::kParseValidateEncodingFlag |
                              rapidjson::kParseFullPrecisionFlag;
  TreeBuilder tree;
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  const rapidjson::ParseResult outcome = reader.Parse<kFlags>(stream, tree);
  if (!tree.fault().empty()) return Fail(code, name + ": " + tree.fault());
  if (outcome.IsError()) {
    const auto before = text.substr(0, std::min(outcome.Offset(), text.size()));
    return Fail(code,
                fmt::format("{}: not JSON: line {}: {}", name, 1 + std::ranges::count(before, '\n'),
                            rapidjson::GetParseError_En(outcome.Code())));
  }
  return JsonDocument({std::move(name), code}, tree.TakeRoot());
}

}  // namespace mayfly
