#include "snapshot/snapshot_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/temp_dir.h"
#include "snapshot/state_file.h"

namespace mayfly {
namespace {

Result<void> Sync(int fd, const std::string& name) {
  if (::fsync(fd) != 0) return FailErrno("sync " + name);
  return {};
}

Result<void> SyncDirectory(const std::string& path) {
  const UniqueFd directory = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY));
  return Sync(directory.get(), path);
}

Result<UniqueFd> CreateFile(const std::string& path) {
  return OpenFile(path, O_RDWR | O_CREAT | O_EXCL, 0600);
}

Result<void> WriteFile(const std::string& path, std::span<const uint8_t> bytes) {
  const UniqueFd fd = TRY(CreateFile(path));
  TRY(WriteAll(fd.get(), bytes, path));
  return Sync(fd.get(), path);
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string WithoutTrailingSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool Exists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

std::unexpected<Error> AlreadyThere(const std::string& path) {
  return Fail(ErrorCode::kInvalidArgument,
              path + ": already there; choose another name, or remove it");
}

// Gives the finished directory its name, and makes that last.
Result<void> Publish(TempDir& directory, const std::string& path) {
  TRY(SyncDirectory(directory.path()));
  const char* const from = directory.path().c_str();
  int renamed = ::renameat2(AT_FDCWD, from, AT_FDCWD, path.c_str(), RENAME_NOREPLACE);
  if (renamed != 0 && errno == EINVAL) {
    // A file system that cannot promise it (9p, NFS): a directory with something in it is still not
    // replaced.
    if (Exists(path)) return AlreadyThere(path);
    renamed = ::rename(from, path.c_str());
  }
  if (renamed != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY) return AlreadyThere(path);
    return FailErrno("rename to " + path);
  }
  directory.Release();
  return SyncDirectory(ParentOf(path));
}

// A file of a snapshot; a link to elsewhere is none.
Result<UniqueFd> OpenMember(const std::string& directory, const char* name) {
  auto fd = OpenFile(directory + "/" + name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (!fd && fd.error().errno_value() == ELOOP) {
    return Fail(ErrorCode::kCorrupt, std::string(name) + ": not a regular file");
  }
  return fd;
}

Result<std::vector<uint8_t>> ReadMember(const std::string& directory, const char* name,
                                        uint64_t most) {
  const UniqueFd fd = TRY(OpenMember(directory, name));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return FailErrno(std::string("stat ") + name);
  if (!S_ISREG(status.st_mode)) {
    return Fail(ErrorCode::kCorrupt, std::string(name) + ": not a regular file");
  }
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > most) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes, {} are possible", name, size, most));
  }
  std::vector<uint8_t> bytes(size);
  TRY(ReadExactAt(fd.get(), bytes, 0, name));
  return bytes;
}

Result<MachineState> ReadState(const std::string& path, const Manifest& manifest) {
  const auto bytes = TRY(ReadMember(path, SnapshotFiles::kState, StateFile::kMostBytes));
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

Result<void> WriteSnapshot(const std::string& where, Manifest manifest, const MachineState& state,
                           const GuestMemory& memory, const VerifiedStamps* stamps) {
  const std::string path = WithoutTrailingSlashes(where);
  if (Exists(path)) return AlreadyThere(path);
  manifest.memory_bytes = memory.size();
  manifest.vcpus = static_cast<uint32_t>(state.vcpus.size());
  TRY(CheckReadable(manifest));
  TempDir directory = TRY(TempDir::Create(path + ".part."));
  const std::string prefix = directory.path() + "/";

  const UniqueFd memory_fd = TRY(CreateFile(prefix + SnapshotFiles::kMemory));
  (void)TRY(WriteMemory(memory, memory_fd.get()));
  TRY(Sync(memory_fd.get(), SnapshotFiles::kMemory));
  const auto digests = TRY(DigestMemory(memory_fd.get(), memory.size()));
  const std::span<const uint8_t> digest_bytes(digests.front().data(),
                                              digests.size() * sizeof(Sha256Digest));
  TRY(WriteFile(prefix + SnapshotFiles::kDigests, digest_bytes));

  const std::vector<uint8_t> state_bytes = StateFile::Encode(state);
  TRY(WriteFile(prefix + SnapshotFiles::kState, state_bytes));

  manifest.state_table = TRY(StateFile::TableDigest(state_bytes));
  manifest.memory_digests = DigestOf(digest_bytes);
  const std::string text = manifest.Serialize();
  TRY(WriteFile(prefix + SnapshotFiles::kManifest, AsBytes(text)));
  TRY(Publish(directory, path));
  if (stamps == nullptr) return {};
  return stamps->Add(TRY(VerifiedStamps::StampOf(memory_fd.get(), DigestOfManifest(text))));
}

Result<Snapshot> Snapshot::Open(const std::string& path) {
  const std::string directory = WithoutTrailingSlashes(path);
  const auto text = TRY(WithContext(
      ReadMember(directory, SnapshotFiles::kManifest, Manifest::kMostBytes), directory));
  Manifest manifest =
      TRY(WithContext(Manifest::Parse(AsText(text), SnapshotFiles::kManifest), directory));
  MachineState state = TRY(WithContext(ReadState(directory, manifest), directory));
  UniqueFd memory_fd = TRY(OpenMember(directory, SnapshotFiles::kMemory));
  UniqueFd digests_fd = TRY(OpenMember(directory, SnapshotFiles::kDigests));
  auto memory = TRY(WithContext(MemoryImage::Open(std::move(memory_fd), std::move(digests_fd),
                                                  manifest.memory_bytes, manifest.memory_digests),
                                directory));
  return Snapshot(directory, std::move(manifest), DigestOfManifest(AsText(text)), std::move(state),
                  std::move(memory));
}

Result<void> WriteWorkingSet(const std::string& where, const WorkingSet& set) {
  const std::string path = WithoutTrailingSlashes(where);
  // In a directory of its own: whoever fails halfway leaves nothing, and two writers both succeed.
  const TempDir directory = TRY(TempDir::Create(path + "/.working-set."));
  const std::string file = directory.path() + "/" + SnapshotFiles::kWorkingSet;
  TRY(WriteFile(file, set.Encode()));
  const std::string target = path + "/" + SnapshotFiles::kWorkingSet;
  if (::rename(file.c_str(), target.c_str()) != 0) return FailErrno("rename to " + target);
  return SyncDirectory(path);
}

Result<std::optional<WorkingSet>> Snapshot::ReadWorkingSet() const {
  const auto bytes = ReadMember(path_, SnapshotFiles::kWorkingSet, WorkingSet::kMostBytes);
  if (!bytes && bytes.error().code() == ErrorCode::kNotFound) return std::nullopt;
  if (!bytes) return std::unexpected(bytes.error());
  return TRY(
      WithContext(WorkingSet::Decode(*bytes, manifest_.memory_bytes / GuestMemory::kPageSize),
                  path_ + "/" + SnapshotFiles::kWorkingSet));
}

}  // namespace mayfly
