#include "snapshot/snapshot_facts.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "snapshot/snapshot_directory.h"

namespace mayfly {

Result<SnapshotFacts> FactsOf(const std::string& directory) {
  Snapshot snapshot = TRY(Snapshot::Open(directory));
  uint64_t data_bytes = 0;
  const auto memory = snapshot.TakeMemory();
  for (const MemoryLayers::Extent& data : TRY(memory->layers().Data())) {
    data_bytes += data.end - data.start;
  }
  const auto working_set = TRY(snapshot.ReadWorkingSet());
  return SnapshotFacts{snapshot.manifest(), data_bytes, working_set ? working_set->pages() : 0,
                       snapshot.layers() - 1};
}

std::string ToJson(const SnapshotFacts& facts) {
  const Manifest& manifest = facts.manifest;
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  writer.Key("memory_bytes");
  writer.Uint64(manifest.memory_bytes);
  writer.Key("data_bytes");
  writer.Uint64(facts.data_bytes);
  writer.Key("vcpus");
  writer.Uint(manifest.vcpus);
  writer.Key("working_set_pages");
  writer.Uint64(facts.working_set_pages);
  writer.Key("mayfly_version");
  writer.String(manifest.mayfly_version.c_str());
  writer.Key("cpu");
  writer.String(manifest.cpu.c_str());
  writer.Key("disks");
  writer.StartArray();
  for (const Manifest::Disk& disk : manifest.disks) writer.String(disk.path.c_str());
  writer.EndArray();
  writer.Key("nets");
  writer.StartArray();
  for (const Manifest::Net& net : manifest.nets) writer.String(net.tap.c_str());
  writer.EndArray();
  if (manifest.function) {
    writer.Key("function");
    writer.RawValue(manifest.function->description.data(), manifest.function->description.size(),
                    rapidjson::kObjectType);
  }
  if (manifest.parent) {
    writer.Key("parent");
    writer.String(manifest.parent->path.c_str());
    writer.Key("parents");
    writer.Uint64(facts.parents);
  }
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

Result<void> VerifySnapshot(const std::string& directory) {
  Snapshot snapshot = TRY(Snapshot::Open(directory));
  TRY(WithContext(snapshot.TakeMemory()->CheckAll(), directory));
  TRY(snapshot.ReadWorkingSet());
  return {};
}

}  // namespace mayfly
