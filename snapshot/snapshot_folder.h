#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace mayfly {

// A snapshot on disk:
//
//   DIR/manifest.json    what the others are, and what the machine is bound to
//   DIR/state            StateFile
//   DIR/memory           the guest's memory, with holes
//   DIR/memory.digests   a digest for each of its chunks
//   DIR/memory.pages     over a parent: which pages of `memory` are its own
//   DIR/working-set      what to fill first; may be missing, and changes
struct SnapshotFiles {
  static constexpr char kManifest[] = "manifest.json";
  static constexpr char kState[] = "state";
  static constexpr char kMemory[] = "memory";
  static constexpr char kDigests[] = "memory.digests";
  static constexpr char kPages[] = "memory.pages";
  static constexpr char kWorkingSet[] = "working-set";
  // What is not whole yet: directories with these in their names, and six characters behind.
  static constexpr char kPart[] = ".part.";
  static constexpr char kWorkingSetPart[] = ".working-set.";
};

// The directory of a snapshot, open: all its files come from the same one, and RemoveSnapshots()
// leaves it alone meanwhile.
class SnapshotFolder {
 public:
  // kNotFound if it is not there, or is being removed.
  static Result<SnapshotFolder> Open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  // The path of a parent that a manifest in it names.
  [[nodiscard]] std::string Resolve(const std::string& parent) const;

  // A file of it; a link to elsewhere is none. kCorrupt, naming the file, if it is not regular.
  [[nodiscard]] Result<UniqueFd> OpenMember(const char* name) const;
  // All of it; kCorrupt if that is more than `most` bytes.
  [[nodiscard]] Result<std::vector<uint8_t>> ReadMember(const char* name, uint64_t most) const;

 private:
  SnapshotFolder(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
};

// A directory of a snapshot that is being written: beside where it will be, and removed again
// unless it is published.
class NewSnapshotFolder {
 public:
  // kInvalidArgument if `path` exists.
  static Result<NewSnapshotFolder> Create(const std::string& path);

  [[nodiscard]] Result<UniqueFd> CreateMember(const char* name) const;
  // A whole file, synced.
  [[nodiscard]] Result<void> WriteMember(const char* name, std::span<const uint8_t> bytes) const;
  // Gives the finished directory its name, and makes that last. kInvalidArgument if something else
  // has it by now.
  Result<void> Publish() &&;

 private:
  NewSnapshotFolder(std::string path, TempDir directory, UniqueFd lock)
      : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}

  std::string path_;
  TempDir directory_;
  UniqueFd lock_;  // As long as it is open, nobody takes the directory for a dead writer's.
};

// For files of a snapshot, by name.
Result<void> SyncMember(int fd, const std::string& name);
// Makes names in a directory last.
Result<void> SyncDirectory(const std::string& path);

// Absolute and without links; kNotFound if it is not there.
Result<std::string> RealPath(const std::string& path);
std::string WithoutTrailingSlashes(std::string path);
std::string DirectoryOf(const std::string& path);
bool PathExists(const std::string& path);

}  // namespace mayfly
