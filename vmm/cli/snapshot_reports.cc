#include "vmm/cli/snapshot_reports.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "snapshot/snapshot_directory.h"
#include "vmm/cli/output.h"
#include "vmm/function/kernel_bundle.h"

namespace mayfly {
namespace {

struct Facts {
  const Manifest& manifest;
  uint64_t data_bytes;  // Of the memory, what is not in holes.
  uint64_t working_set_pages;
  uint64_t parents;
};

std::string Text(const Facts& facts) {
  const Manifest& manifest = facts.manifest;
  std::string text = fmt::format(
      "memory        {} MiB, {:.1f} MiB of it not zero\n"
      "vcpus         {}\n"
      "working set   {} pages\n"
      "made by       mayfly {} on {}\n",
      manifest.memory_bytes >> 20, static_cast<double>(facts.data_bytes) / (1 << 20),
      manifest.vcpus, facts.working_set_pages, manifest.mayfly_version, manifest.cpu);
  for (const Manifest::Disk& disk : manifest.disks) text += "disk          " + disk.path + "\n";
  for (const Manifest::Net& net : manifest.nets) text += "tap           " + net.tap + "\n";
  if (manifest.function) text += "function      " + manifest.function->description + "\n";
  if (manifest.parent) {
    text += fmt::format("parent        {}, in all {}\n", manifest.parent->path, facts.parents);
  }
  return text;
}

std::string Json(const Facts& facts) {
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
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

Result<std::string> Describe(const std::string& directory, bool json) {
  Snapshot snapshot = TRY(Snapshot::Open(directory));
  uint64_t data_bytes = 0;
  const auto memory = snapshot.TakeMemory();
  for (const MemoryLayers::Extent& data : TRY(memory->layers().Data())) {
    data_bytes += data.end - data.start;
  }
  const auto working_set = TRY(snapshot.ReadWorkingSet());
  const Facts facts{snapshot.manifest(), data_bytes, working_set ? working_set->pages() : 0,
                    snapshot.layers() - 1};
  return json ? Json(facts) : Text(facts);
}

Result<void> Verify(const std::string& directory) {
  Snapshot snapshot = TRY(Snapshot::Open(directory));
  TRY(WithContext(snapshot.TakeMemory()->CheckAll(), directory));
  TRY(snapshot.ReadWorkingSet());
  return {};
}

}  // namespace

int ReportSnapshot(const std::string& directory, bool json) {
  const Result<std::string> text = Describe(directory, json);
  return text ? PrintText(*text) : ReportError(text.error());
}

int VerifySnapshot(const std::string& directory) {
  const Result<void> verified = Verify(directory);
  return verified ? PrintText(directory + ": all of it matches its digests\n")
                  : ReportError(verified.error());
}

int ReportSaved(const FunctionMachine::Saved& saved) {
  const auto pause = std::chrono::duration_cast<std::chrono::microseconds>(saved.pause).count();
  return PrintText(fmt::format("{{\"pause_us\":{},\"data_bytes\":{}}}\n", pause, saved.data_bytes));
}

std::string StampDirectory() {
  const std::string kernels = KernelCacheDirectory();
  return kernels.substr(0, kernels.rfind('/')) + "/verified";
}

}  // namespace mayfly
