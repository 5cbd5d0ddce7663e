#include "snapshot/snapshot_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/memory_writer.h"
#include "snapshot/state_file.h"

namespace mayfly {
namespace {

std::span<const uint8_t> BytesOfDigests(const std::vector<Sha256Digest>& digests) {
  return {digests.front().data(), digests.size() * sizeof(Sha256Digest)};
}

// Names can hold bytes that JSON cannot: what could not be read again is not written.
Result<void> CheckReadable(const Manifest& manifest) {
  const std::string text = manifest.Serialize();
  if (text.size() > Manifest::kMostBytes) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} bytes, {} are possible", SnapshotFiles::kManifest, text.size(),
                            Manifest::kMostBytes));
  }
  const auto parsed = Manifest::Parse(text, SnapshotFiles::kManifest);
  if (parsed) return {};
  return Fail(ErrorCode::kInvalidArgument, "no manifest can say this: " + parsed.error().message());
}

}  // namespace

Result<SnapshotWriter> SnapshotWriter::Create(const std::string& path,
                                              std::optional<Snapshot> parent) {
  SnapshotWriter writer(TRY(NewSnapshotFolder::Create(path)));
  writer.memory_fd_ = TRY(writer.folder_.CreateMember(SnapshotFiles::kMemory));
  if (parent) TRY(writer.OpenParent(*std::move(parent), path));
  return writer;
}

Result<void> SnapshotWriter::OpenParent(Snapshot parent, const std::string& path) {
  if (parent.layers() == Snapshot::kMostLayers) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: lies over {} others, that is the most (mayfly snapshot flatten "
                            "makes one of them)",
                            parent.path(), Snapshot::kMostLayers - 1));
  }
  const std::string absolute = TRY(RealPath(parent.path()));
  const std::string beside = TRY(RealPath(DirectoryOf(WithoutTrailingSlashes(path))));
  parent_name_ =
      DirectoryOf(absolute) == beside ? absolute.substr(absolute.rfind('/') + 1) : absolute;
  parent_memory_ = parent.TakeMemory();
  TRY(WithContext(parent_memory_->LoadDigests(), parent.path()));
  parent_ = std::move(parent);
  return {};
}

Result<void> SnapshotWriter::WriteMemory(const GuestMemory& memory) {
  memory_bytes_ = memory.size();
  if (!parent_) {
    data_bytes_ = TRY(mayfly::WriteMemory(memory, memory_fd_.get()));
    return {};
  }
  if (memory_bytes_ != parent_memory_->bytes()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} bytes of memory, the machine has {}", parent_->path(),
                            parent_memory_->bytes(), memory_bytes_));
  }
  pages_ = TRY(WriteDifference(memory, parent_memory_->layers(), memory_fd_.get()));
  data_bytes_ = pages_.pages() * GuestMemory::kPageSize;
  return {};
}

Result<UniqueFd> SnapshotWriter::OpenMemory(uint64_t bytes) {
  if (::ftruncate(memory_fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return FailErrno("write memory");
  }
  memory_bytes_ = bytes;
  return memory_fd_.Duplicate();
}

Result<std::vector<Sha256Digest>> SnapshotWriter::DigestAll() {
  if (parent_) {
    return DigestDifference(parent_memory_->layers(), memory_fd_.get(), pages_,
                            parent_memory_->digests());
  }
  std::vector<MemoryLayer> layers;
  layers.push_back({TRY(memory_fd_.Duplicate())});
  return DigestMemory(MemoryLayers(std::move(layers), memory_bytes_));
}

Result<void> SnapshotWriter::Publish(Manifest manifest, const MachineState& state,
                                     const VerifiedStamps* stamps) && {
  manifest.memory_bytes = memory_bytes_;
  manifest.vcpus = static_cast<uint32_t>(state.vcpus.size());
  manifest.parent.reset();
  TRY(SyncMember(memory_fd_.get(), SnapshotFiles::kMemory));
  const auto digests = TRY(DigestAll());
  TRY(folder_.WriteMember(SnapshotFiles::kDigests, BytesOfDigests(digests)));
  manifest.memory_digests = DigestOf(BytesOfDigests(digests));
  if (parent_) {
    const std::vector<uint8_t> pages = TRY(pages_.Encode());
    TRY(folder_.WriteMember(SnapshotFiles::kPages, pages));
    manifest.parent = Manifest::Parent{parent_name_, parent_->manifest_digest(), DigestOf(pages)};
  }
  const std::vector<uint8_t> state_bytes = StateFile::Encode(state);
  TRY(folder_.WriteMember(SnapshotFiles::kState, state_bytes));
  manifest.state_table = TRY(StateFile::TableDigest(state_bytes));
  TRY(CheckReadable(manifest));
  const std::string text = manifest.Serialize();
  TRY(folder_.WriteMember(SnapshotFiles::kManifest, AsBytes(text)));
  TRY(std::move(folder_).Publish());
  if (stamps == nullptr) return {};
  std::vector<int> fds{memory_fd_.get()};
  if (parent_) {
    const auto below = parent_memory_->layers().fds();
    if (!stamps->Has(TRY(VerifiedStamps::StampOf(below, parent_->manifest_digest())))) return {};
    fds.insert(fds.end(), below.begin(), below.end());
  }
  return stamps->Add(TRY(VerifiedStamps::StampOf(fds, DigestOfManifest(text))));
}

Result<void> WriteSnapshot(const std::string& path, Manifest manifest, const MachineState& state,
                           const GuestMemory& memory, const VerifiedStamps* stamps) {
  manifest.memory_bytes = memory.size();
  manifest.vcpus = static_cast<uint32_t>(state.vcpus.size());
  TRY(CheckReadable(manifest));
  SnapshotWriter writer = TRY(SnapshotWriter::Create(path));
  TRY(writer.WriteMemory(memory));
  return std::move(writer).Publish(std::move(manifest), state, stamps);
}

Result<void> FlattenSnapshot(const std::string& from, const std::string& to,
                             const VerifiedStamps* stamps) {
  Snapshot snapshot = TRY(Snapshot::Open(from));
  NewSnapshotFolder folder = TRY(NewSnapshotFolder::Create(to));
  const auto image = snapshot.TakeMemory();
  const UniqueFd memory = TRY(folder.CreateMember(SnapshotFiles::kMemory));
  if (::ftruncate(memory.get(), static_cast<off_t>(image->bytes())) != 0) {
    return FailErrno("write memory");
  }
  TRY(WithContext(image->ForEachCheckedChunk(
                      [&](uint64_t offset, std::span<const uint8_t> contents) -> Result<void> {
                        return WritePages(memory.get(), contents, offset);
                      }),
                  from));
  TRY(SyncMember(memory.get(), SnapshotFiles::kMemory));
  TRY(folder.WriteMember(SnapshotFiles::kDigests, BytesOfDigests(image->digests())));
  TRY(folder.WriteMember(SnapshotFiles::kState, StateFile::Encode(snapshot.TakeState())));
  if (const auto working_set = TRY(snapshot.ReadWorkingSet())) {
    TRY(folder.WriteMember(SnapshotFiles::kWorkingSet, working_set->Encode()));
  }
  Manifest manifest = snapshot.manifest();
  manifest.parent.reset();
  const std::string text = manifest.Serialize();
  TRY(folder.WriteMember(SnapshotFiles::kManifest, AsBytes(text)));
  TRY(std::move(folder).Publish());
  if (stamps == nullptr) return {};
  const std::array<int, 1> fds{memory.get()};
  return stamps->Add(TRY(VerifiedStamps::StampOf(fds, DigestOfManifest(text))));
}

}  // namespace mayfly
