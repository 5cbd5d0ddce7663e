#include "snapshot/snapshot_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include "base/file.h"
#include "base/temp_dir.h"
#include "snapshot/state_file.h"

namespace mayfly {
namespace {

struct ReadManifest {
  Manifest manifest;
  Sha256Digest digest;
};

Result<ReadManifest> ManifestIn(const SnapshotFolder& folder) {
  const auto text = TRY(folder.ReadMember(SnapshotFiles::kManifest, Manifest::kMostBytes));
  return ReadManifest{TRY(Manifest::Parse(AsText(text), SnapshotFiles::kManifest)),
                      DigestOfManifest(AsText(text))};
}

Result<MachineState> StateIn(const SnapshotFolder& folder, const Manifest& manifest) {
  const auto bytes = TRY(folder.ReadMember(SnapshotFiles::kState, StateFile::kMostBytes));
  const auto digest = TRY(WithContext(StateFile::TableDigest(bytes), SnapshotFiles::kState));
  if (digest != manifest.state_table) {
    return Fail(ErrorCode::kCorrupt, "state: not the one that the manifest describes");
  }
  auto state = TRY(WithContext(StateFile::Decode(bytes), SnapshotFiles::kState));
  if (state.memory_bytes != manifest.memory_bytes || state.vcpus.size() != manifest.vcpus) {
    return Fail(
        ErrorCode::kCorrupt,
        fmt::format("state: {} bytes of memory and {} vcpus, the manifest says {} and {}",
                    state.memory_bytes, state.vcpus.size(), manifest.memory_bytes, manifest.vcpus));
  }
  return state;
}

Result<MemoryLayer> LayerIn(const SnapshotFolder& folder, const Manifest& manifest) {
  MemoryLayer layer;
  layer.fd = TRY(folder.OpenMember(SnapshotFiles::kMemory));
  TRY(CheckMemberFile(layer.fd.get(), SnapshotFiles::kMemory, manifest.memory_bytes));
  if (!manifest.parent) return layer;
  const auto bytes = TRY(folder.ReadMember(SnapshotFiles::kPages, PageRuns::kMostBytes));
  if (DigestOf(bytes) != manifest.parent->pages) {
    return Fail(ErrorCode::kCorrupt, "memory.pages: its digest does not match");
  }
  layer.pages =
      TRY(WithContext(PageRuns::Decode(bytes, manifest.memory_bytes / GuestMemory::kPageSize),
                      SnapshotFiles::kPages));
  return layer;
}

}  // namespace

Result<Snapshot> Snapshot::Open(const std::string& path) {
  Snapshot snapshot;
  snapshot.folders_.push_back(TRY(SnapshotFolder::Open(path)));
  const SnapshotFolder& folder = snapshot.folders_.front();
  ReadManifest read = TRY(WithContext(ManifestIn(folder), folder.path()));
  snapshot.manifest_ = std::move(read.manifest);
  snapshot.manifest_digest_ = read.digest;
  snapshot.state_ = TRY(WithContext(StateIn(folder, snapshot.manifest_), folder.path()));
  TRY(WithContext(snapshot.OpenMemory(), WithoutTrailingSlashes(path)));
  return snapshot;
}

Result<void> Snapshot::OpenMemory() {
  std::vector<MemoryLayer> layers;
  layers.push_back(TRY(LayerIn(folders_.front(), manifest_)));
  UniqueFd digests = TRY(folders_.front().OpenMember(SnapshotFiles::kDigests));
  Manifest lowest = manifest_;
  while (lowest.parent) {
    lowest = TRY(WithContext(OpenParent(lowest), "parent"));
    layers.push_back(TRY(WithContext(LayerIn(folders_.back(), lowest), folders_.back().path())));
  }
  memory_ = TRY(MemoryImage::Open(std::move(layers), std::move(digests), manifest_.memory_bytes,
                                  manifest_.memory_digests));
  return {};
}

// A ring of parents ends here too: each names the next by a digest that its own goes into, so one
// of them does not match.
Result<Manifest> Snapshot::OpenParent(const Manifest& child) {
  if (folders_.size() == kMostLayers) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("more than {} snapshots over each other", kMostLayers));
  }
  const std::string path = folders_.back().Resolve(child.parent->path);
  folders_.push_back(TRY(SnapshotFolder::Open(path)));
  ReadManifest read = TRY(WithContext(ManifestIn(folders_.back()), path));
  if (read.digest != child.parent->digest) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: its manifest has the digest {}, the snapshot was made over {}",
                            path, ToHex(read.digest), ToHex(child.parent->digest)));
  }
  if (read.manifest.memory_bytes != child.memory_bytes) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes of memory, the snapshot has {}", path,
                            read.manifest.memory_bytes, child.memory_bytes));
  }
  return std::move(read.manifest);
}

Result<std::optional<WorkingSet>> Snapshot::ReadWorkingSet() const {
  const auto bytes =
      folders_.front().ReadMember(SnapshotFiles::kWorkingSet, WorkingSet::kMostBytes);
  if (!bytes && bytes.error().code() == ErrorCode::kNotFound) return std::nullopt;
  if (!bytes) return std::unexpected(bytes.error());
  return TRY(
      WithContext(WorkingSet::Decode(*bytes, manifest_.memory_bytes / GuestMemory::kPageSize),
                  path() + "/" + SnapshotFiles::kWorkingSet));
}

Result<void> WriteWorkingSet(const std::string& where, const WorkingSet& set) {
  const std::string path = WithoutTrailingSlashes(where);
  const SnapshotFolder folder = TRY(SnapshotFolder::Open(path));
  // In a directory of its own: whoever fails halfway leaves nothing, and two writers both succeed.
  const TempDir directory = TRY(TempDir::Create(path + "/" + SnapshotFiles::kWorkingSetPart));
  const std::string file = directory.path() + "/" + SnapshotFiles::kWorkingSet;
  const UniqueFd fd = TRY(OpenFile(file, O_RDWR | O_CREAT | O_EXCL, 0600));
  TRY(WriteAll(fd.get(), set.Encode(), SnapshotFiles::kWorkingSet));
  TRY(SyncMember(fd.get(), file));
  const std::string target = path + "/" + SnapshotFiles::kWorkingSet;
  if (::rename(file.c_str(), target.c_str()) != 0) return FailErrno("rename to " + target);
  return SyncDirectory(path);
}

}  // namespace mayfly
