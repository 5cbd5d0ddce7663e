#include "guest-init/json.h"

#include "base/file.h"

namespace mayfly::init {
namespace {

// The length of the well-formed UTF-8 sequence that `text` starts with, 0 if there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  // Overlong forms, surrogates, and what is above U+10FFFF show in the second byte.
  const uint8_t second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

Result<JsonObject> JsonObject::Parse(std::span<const uint8_t> text, std::string_view name) {
  if (text.size() > kMaxText) {
    return Fail(ErrorCode::kTooLarge, std::string(name) + ": too long to be parsed");
  }
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(
      reinterpret_cast<const char*>(text.data()), text.size());
  if (document.HasParseError()) {
    return Fail(ErrorCode::kInvalidArgument, std::string(name) + ": not JSON, at offset " +
                                                 std::to_string(document.GetErrorOffset()));
  }
  if (!document.IsObject()) {
    return Fail(ErrorCode::kInvalidArgument, std::string(name) + ": not a JSON object");
  }
  return JsonObject(std::move(document));
}

std::optional<std::string> JsonObject::String(const char* key) const {
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd() || !member->value.IsString()) return std::nullopt;
  return std::string(member->value.GetString(), member->value.GetStringLength());
}

std::optional<uint64_t> JsonObject::Integer(const char* key) const {
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd() || !member->value.IsUint64()) return std::nullopt;
  return member->value.GetUint64();
}

std::optional<bool> JsonObject::Bool(const char* key) const {
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd() || !member->value.IsBool()) return std::nullopt;
  return member->value.GetBool();
}

Result<std::vector<std::pair<std::string, std::string>>> JsonObject::StringMap(
    const char* key) const {
  std::vector<std::pair<std::string, std::string>> map;
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd()) return map;
  if (!member->value.IsObject()) {
    return Fail(ErrorCode::kInvalidArgument, std::string(key) + ": not an object");
  }
  for (const auto& [name, value] : member->value.GetObject()) {
    if (!value.IsString()) {
      return Fail(ErrorCode::kInvalidArgument, std::string(key) + ": not an object of strings");
    }
    map.emplace_back(std::string(name.GetString(), name.GetStringLength()),
                     std::string(value.GetString(), value.GetStringLength()));
  }
  return map;
}

Result<std::vector<JsonObject>> JsonObject::Objects(const char* key) const {
  std::vector<JsonObject> objects;
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd()) return objects;
  const auto not_objects = [key] {
    return Fail(ErrorCode::kInvalidArgument, std::string(key) + ": not an array of objects");
  };
  if (!member->value.IsArray()) return not_objects();
  for (const rapidjson::Value& element : member->value.GetArray()) {
    if (!element.IsObject()) return not_objects();
    rapidjson::Document document;
    document.CopyFrom(element, document.GetAllocator());
    objects.push_back(JsonObject(std::move(document)));
  }
  return objects;
}

std::vector<std::string> JsonObject::Strings(const char* key) const {
  std::vector<std::string> strings;
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd() || !member->value.IsArray()) return strings;
  for (const rapidjson::Value& element : member->value.GetArray()) {
    if (element.IsString()) {
      strings.emplace_back(element.GetString(), element.GetStringLength());
    }
  }
  return strings;
}

std::string JsonObject::ArrayText(const char* key) const {
  const auto member = document_.FindMember(key);
  if (member == document_.MemberEnd() || !member->value.IsArray()) return {};
  // Only the strings: a stack trace has nothing else, and to write out nested arrays would take
  // recursion as deep as a handler likes.
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartArray();
  for (const auto& value : member->value.GetArray()) {
    if (value.IsString()) writer.String(value.GetString(), value.GetStringLength());
  }
  writer.EndArray();
  return {buffer.GetString(), buffer.GetSize()};
}

void JsonWriter::String(const char* key, std::string_view value) {
  const std::string valid = ValidUtf8(value);
  writer_.Key(key);
  writer_.String(valid.data(), static_cast<rapidjson::SizeType>(valid.size()));
}

void JsonWriter::Integer(const char* key, uint64_t value) {
  writer_.Key(key);
  writer_.Uint64(value);
}

void JsonWriter::Bool(const char* key, bool value) {
  writer_.Key(key);
  writer_.Bool(value);
}

void JsonWriter::Raw(const char* key, std::string_view text) {
  writer_.Key(key);
  writer_.RawValue(text.data(), text.size(), rapidjson::kArrayType);
}

std::string JsonWriter::Finish() {
  writer_.EndObject();
  return {buffer_.GetString(), buffer_.GetSize()};
}

std::string ValidUtf8(std::string_view text, size_t limit) {
  std::string valid;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const std::string_view next = length == 0 ? "\xef\xbf\xbd" : text.substr(0, length);
    if (valid.size() + next.size() > limit) break;
    valid += next;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return valid;
}

}  // namespace mayfly::init
