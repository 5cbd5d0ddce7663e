#include "vmm/function/description.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>

#include "base/json.h"

namespace mayfly {
namespace {

constexpr size_t kMostName = 64;
constexpr size_t kMostHandler = 256;
constexpr size_t kMostPath = 4095;

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsFunctionName(std::string_view name) {
  return !name.empty() && name.size() <= kMostName && IsAlphanumeric(name[0]) &&
         std::ranges::all_of(
             name, [](char c) { return IsAlphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

bool IsVariableName(std::string_view name) {
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         std::ranges::all_of(name, [](char c) { return IsAlphanumeric(c) || c == '_'; });
}

bool HasControlCharacter(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

// True for "a/b.so"; false for what is absolute, has an empty component, or climbs.
bool IsPathWithin(std::string_view path) {
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<std::string> ParseName(const JsonValue& value) {
  std::string name = TRY(value.AsString());
  if (!IsFunctionName(name)) {
    return value.Refuse(fmt::format(
        "expected 1 to {} of A-Z a-z 0-9 . _ -, the first a letter or a digit", kMostName));
  }
  return name;
}

Result<HandlerKind> ParseKind(const JsonValue& value) {
  const std::string kind = TRY(value.AsString());
  if (kind == "native") return HandlerKind::kNative;
  if (kind == "bootstrap") return HandlerKind::kBootstrap;
  return value.Refuse("expected \"native\" or \"bootstrap\", found \"" + Printable(kind) + "\"");
}

Result<std::string> ParseHandler(const JsonValue& value, HandlerKind kind) {
  std::string handler = TRY(value.AsString());
  if (handler.empty() || handler.size() > kMostHandler || HasControlCharacter(handler)) {
    return value.Refuse(
        fmt::format("expected 1 to {} bytes without control characters", kMostHandler));
  }
  if (kind == HandlerKind::kNative && !IsPathWithin(handler)) {
    return value.Refuse("expected a path within the function's directory");
  }
  return handler;
}

Result<std::map<std::string, std::string>> ParseEnvironment(const JsonValue& value) {
  std::map<std::string, std::string> environment;
  size_t bytes = 0;
  const JsonObject object = TRY(value.AsObject());
  for (const auto& [name, variable] : object.Members()) {
    if (!IsVariableName(name)) {
      return variable.Refuse("not a variable's name: expected A-Z a-z 0-9 _, no digit first");
    }
    std::string text = TRY(variable.AsString());
    bytes += name.size() + text.size();
    environment.emplace(name, std::move(text));
  }
  if (bytes > FunctionDescription::kMostEnvironmentBytes) {
    return value.Refuse(fmt::format("{} bytes of names and values, {} are the most allowed", bytes,
                                    FunctionDescription::kMostEnvironmentBytes));
  }
  return environment;
}

Result<std::vector<std::string>> ParseIncludes(const JsonValue& value) {
  std::vector<std::string> includes;
  for (const JsonValue& element : TRY(value.AsArray(FunctionSource::kMostIncludes))) {
    std::string path = TRY(element.AsString());
    if (path.size() < 2 || path.size() > kMostPath || path[0] != '/' ||
        !IsPathWithin(std::string_view(path).substr(1))) {
      return element.Refuse("expected an absolute path without . and ..");
    }
    for (const std::string_view directory : {"/proc", "/sys", "/dev"}) {
      if (path == directory || path.starts_with(std::string(directory) + "/")) {
        return element.Refuse("nothing can be packed from /proc, /sys and /dev");
      }
    }
    includes.push_back(std::move(path));
  }
  return includes;
}

Result<uint32_t> ParseNumber(const JsonObject& object, std::string_view key, uint32_t least,
                             uint32_t most, uint32_t otherwise) {
  const auto value = object.Find(key);
  if (!value) return otherwise;
  return static_cast<uint32_t>(TRY(value->AsInteger(least, most)));
}

Result<FunctionDescription> ParseDescription(const JsonObject& object) {
  FunctionDescription description;
  const JsonValue name = TRY(object.Require("name"));
  description.name = TRY(ParseName(name));
  const JsonValue kind = TRY(object.Require("kind"));
  description.kind = TRY(ParseKind(kind));
  if (const auto handler = object.Find("handler")) {
    description.handler = TRY(ParseHandler(*handler, description.kind));
  } else {
    description.handler = description.kind == HandlerKind::kNative ? "handler.so" : "bootstrap";
  }
  if (const auto environment = object.Find("environment")) {
    description.environment = TRY(ParseEnvironment(*environment));
  }
  description.memory_mib =
      TRY(ParseNumber(object, "memory_mib", FunctionDescription::kLeastMemoryMib,
                      FunctionDescription::kMostMemoryMib, description.memory_mib));
  description.vcpus =
      TRY(ParseNumber(object, "vcpus", 1, FunctionDescription::kMostVcpus, description.vcpus));
  description.timeout_ms = TRY(ParseNumber(
      object, "timeout_ms", 1, FunctionDescription::kMostTimeoutMs, description.timeout_ms));
  return description;
}

}  // namespace

Result<FunctionSource> ParseFunctionSource(std::string_view text, const std::string& name) {
  const JsonDocument document = TRY(JsonDocument::Parse(text, name, ErrorCode::kInvalidArgument));
  const JsonObject object = TRY(document.root().AsObject());
  TRY(object.RefuseKeysOtherThan(
      {"name", "kind", "handler", "environment", "memory_mib", "vcpus", "timeout_ms", "include"}));
  FunctionSource source;
  source.description = TRY(ParseDescription(object));
  if (const auto include = object.Find("include")) {
    source.include = TRY(ParseIncludes(*include));
  }
  return source;
}

Result<FunctionDescription> ParseFunctionDescription(std::string_view text,
                                                     const std::string& name) {
  const JsonDocument document = TRY(JsonDocument::Parse(text, name, ErrorCode::kCorrupt));
  const JsonObject object = TRY(document.root().AsObject());
  TRY(object.RefuseKeysOtherThan(
      {"name", "kind", "handler", "environment", "memory_mib", "vcpus", "timeout_ms"}));
  return ParseDescription(object);
}

std::string Serialize(const FunctionDescription& description) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto text = [&writer](std::string_view value) {
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  writer.StartObject();
  writer.Key("name");
  text(description.name);
  writer.Key("kind");
  text(description.kind == HandlerKind::kNative ? "native" : "bootstrap");
  writer.Key("handler");
  text(description.handler);
  writer.Key("environment");
  writer.StartObject();
  for (const auto& [name, value] : description.environment) {
    text(name);
    text(value);
  }
  writer.EndObject();
  writer.Key("memory_mib");
  writer.Uint(description.memory_mib);
  writer.Key("vcpus");
  writer.Uint(description.vcpus);
  writer.Key("timeout_ms");
  writer.Uint(description.timeout_ms);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace mayfly
