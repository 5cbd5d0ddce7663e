#include "snapshot/manifest.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "base/file.h"
#include "base/json.h"

namespace mayfly {
namespace {

constexpr std::string_view kPrefix = "{\"digest\":\"";
constexpr size_t kHexSize = 64;
constexpr uint64_t kPage = 4096;
// Room for every machine that can be, and for no number that overflows a sum.
constexpr uint64_t kMostMemory = 1ULL << 46;
constexpr uint64_t kMostDiskBytes = 1ULL << 60;
constexpr uint32_t kMostVcpus = 32;

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void Put(Writer& writer, const char* key, const std::string& text) {
  writer.Key(key);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

void PutDisks(Writer& writer, const std::vector<Manifest::Disk>& disks) {
  writer.Key("disks");
  writer.StartArray();
  for (const Manifest::Disk& disk : disks) {
    writer.StartObject();
    Put(writer, "path", disk.path);
    writer.Key("bytes");
    writer.Uint64(disk.bytes);
    writer.Key("read_only");
    writer.Bool(disk.read_only);
    writer.EndObject();
  }
  writer.EndArray();
}

void PutNets(Writer& writer, const std::vector<Manifest::Net>& nets) {
  writer.Key("nets");
  writer.StartArray();
  for (const Manifest::Net& net : nets) {
    writer.StartObject();
    Put(writer, "tap", net.tap);
    writer.EndObject();
  }
  writer.EndArray();
}

// The object without its first brace and the digest.
std::string Body(const Manifest& manifest) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  writer.Key("format");
  writer.Uint(manifest.parent ? Manifest::kLayerFormat : Manifest::kFormat);
  Put(writer, "mayfly_version", manifest.mayfly_version);
  Put(writer, "cpu", manifest.cpu);
  writer.Key("memory_bytes");
  writer.Uint64(manifest.memory_bytes);
  writer.Key("vcpus");
  writer.Uint(manifest.vcpus);
  Put(writer, "state_table", ToHex(manifest.state_table));
  Put(writer, "memory_digests", ToHex(manifest.memory_digests));
  PutDisks(writer, manifest.disks);
  PutNets(writer, manifest.nets);
  if (manifest.function) {
    writer.Key("function");
    writer.StartObject();
    Put(writer, "description", manifest.function->description);
    Put(writer, "image_digest", ToHex(manifest.function->image_digest));
    writer.EndObject();
  }
  if (manifest.parent) {
    writer.Key("parent");
    writer.StartObject();
    Put(writer, "path", manifest.parent->path);
    Put(writer, "digest", ToHex(manifest.parent->digest));
    Put(writer, "pages", ToHex(manifest.parent->pages));
    writer.EndObject();
  }
  writer.EndObject();
  return std::string(buffer.GetString() + 1, buffer.GetSize() - 1) + "\n";
}

Result<Sha256Digest> ParseDigest(const JsonValue& value) {
  const std::string text = TRY(value.AsString());
  Sha256Digest digest{};
  if (text.size() != kHexSize) return value.Refuse("a digest has 64 hexadecimal digits");
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view digits = "0123456789abcdef";
    const size_t digit = digits.find(text[i]);
    if (digit == std::string_view::npos) {
      return value.Refuse("a digest has 64 hexadecimal digits");
    }
    digest[i / 2] = static_cast<uint8_t>(digest[i / 2] << 4 | static_cast<int>(digit));
  }
  return digest;
}

Result<Manifest::Disk> ParseDisk(const JsonValue& value) {
  const JsonObject object = TRY(value.AsObject());
  Manifest::Disk disk;
  const JsonValue path = TRY(object.Require("path"));
  disk.path = TRY(path.AsString());
  const JsonValue bytes = TRY(object.Require("bytes"));
  disk.bytes = TRY(bytes.AsInteger(0, kMostDiskBytes));
  const JsonValue read_only = TRY(object.Require("read_only"));
  disk.read_only = TRY(read_only.AsBool());
  return disk;
}

Result<Manifest::Net> ParseNet(const JsonValue& value) {
  const JsonObject object = TRY(value.AsObject());
  const JsonValue tap = TRY(object.Require("tap"));
  return Manifest::Net{TRY(tap.AsString())};
}

Result<Manifest::Function> ParseFunction(const JsonValue& value) {
  const JsonObject object = TRY(value.AsObject());
  Manifest::Function function;
  const JsonValue description = TRY(object.Require("description"));
  function.description = TRY(description.AsString());
  const JsonValue digest = TRY(object.Require("image_digest"));
  function.image_digest = TRY(ParseDigest(digest));
  return function;
}

Result<Manifest::Parent> ParseParent(const JsonValue& value) {
  const JsonObject object = TRY(value.AsObject());
  Manifest::Parent parent;
  const JsonValue path = TRY(object.Require("path"));
  parent.path = TRY(path.AsString());
  const bool plain_name = parent.path.find('/') == std::string::npos && parent.path != ".." &&
                          parent.path != "." && !parent.path.empty();
  if (!plain_name && !parent.path.starts_with('/')) {
    return path.Refuse("neither a name beside the snapshot nor absolute");
  }
  const JsonValue digest = TRY(object.Require("digest"));
  parent.digest = TRY(ParseDigest(digest));
  const JsonValue pages = TRY(object.Require("pages"));
  parent.pages = TRY(ParseDigest(pages));
  return parent;
}

Result<void> CheckFormat(const JsonObject& object) {
  const JsonValue format = TRY(object.Require("format"));
  const uint64_t number = TRY(format.AsInteger(0, UINT32_MAX));
  if (number == Manifest::kFormat || number == Manifest::kLayerFormat) return {};
  return Fail(ErrorCode::kUnsupported,
              fmt::format("snapshot format {}, this mayfly reads {} and {}", number,
                          Manifest::kFormat, Manifest::kLayerFormat));
}

Result<Manifest> ParseFields(const JsonObject& object) {
  Manifest manifest;
  const JsonValue version = TRY(object.Require("mayfly_version"));
  manifest.mayfly_version = TRY(version.AsString());
  const JsonValue cpu = TRY(object.Require("cpu"));
  manifest.cpu = TRY(cpu.AsString());
  const JsonValue memory = TRY(object.Require("memory_bytes"));
  manifest.memory_bytes = TRY(memory.AsInteger(kPage, kMostMemory));
  if (manifest.memory_bytes % kPage != 0) return memory.Refuse("no whole number of pages");
  const JsonValue vcpus = TRY(object.Require("vcpus"));
  manifest.vcpus = static_cast<uint32_t>(TRY(vcpus.AsInteger(1, kMostVcpus)));
  const JsonValue state = TRY(object.Require("state_table"));
  manifest.state_table = TRY(ParseDigest(state));
  const JsonValue digests = TRY(object.Require("memory_digests"));
  manifest.memory_digests = TRY(ParseDigest(digests));
  const JsonValue disks = TRY(object.Require("disks"));
  for (const JsonValue& disk : TRY(disks.AsArray(Manifest::kMostDisks))) {
    manifest.disks.push_back(TRY(ParseDisk(disk)));
  }
  const JsonValue nets = TRY(object.Require("nets"));
  for (const JsonValue& net : TRY(nets.AsArray(Manifest::kMostNets))) {
    manifest.nets.push_back(TRY(ParseNet(net)));
  }
  if (const auto function = object.Find("function")) {
    manifest.function = TRY(ParseFunction(*function));
  }
  if (const auto parent = object.Find("parent")) manifest.parent = TRY(ParseParent(*parent));
  return manifest;
}

}  // namespace

std::string Manifest::Serialize() const {
  const std::string body = Body(*this);
  return fmt::format("{}{}\",{}", kPrefix, ToHex(DigestOf(AsBytes(body))), body);
}

Result<Manifest> Manifest::Parse(std::string_view text, const std::string& name) {
  const size_t body = kPrefix.size() + kHexSize + 2;
  if (text.size() < body || !text.starts_with(kPrefix)) {
    return Fail(ErrorCode::kCorrupt, name + ": not a snapshot's manifest");
  }
  if (ToHex(DigestOf(AsBytes(text.substr(body)))) != text.substr(kPrefix.size(), kHexSize)) {
    return Fail(ErrorCode::kCorrupt, name + ": its digest does not match");
  }
  const JsonDocument document = TRY(JsonDocument::Parse(text, name, ErrorCode::kCorrupt));
  const JsonObject object = TRY(document.root().AsObject());
  TRY(WithContext(CheckFormat(object), name));
  Manifest manifest = TRY(ParseFields(object));
  if (manifest.Serialize() != text) {
    return Fail(ErrorCode::kCorrupt, name + ": not in the form that mayfly writes");
  }
  return manifest;
}

Sha256Digest DigestOfManifest(std::string_view text) { return DigestOf(AsBytes(text)); }

}  // namespace mayfly
