#include "snapshot/garbage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "snapshot/snapshot_directory.h"
#include "snapshot/snapshot_folder.h"

namespace mayfly {
namespace {

constexpr size_t kRandomCharacters = 6;  // mkdtemp()'s.

// "NAME.part.xxxxxx", for `mark` ".part.".
bool IsLeftover(std::string_view name, std::string_view mark) {
  const size_t tail = mark.size() + kRandomCharacters;
  return name.size() >= tail && name.substr(name.size() - tail, mark.size()) == mark;
}

// The directories in one, by name.
Result<std::vector<std::string>> DirectoriesIn(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entries(path, error);
  while (!error && entries != std::filesystem::directory_iterator()) {
    if (entries->symlink_status(error).type() == std::filesystem::file_type::directory) {
      names.push_back(entries->path().filename());
    }
    entries.increment(error);
  }
  if (error) return FailErrno("list " + path, error.value());
  std::ranges::sort(names);
  return names;
}

// Nobody else has it open as a snapshot, or writes it, as long as this is there.
Result<UniqueFd> LockAlone(const std::string& path) {
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return FailErrno("lock " + path);
  struct stat opened{};
  struct stat named{};
  if (::fstat(fd.get(), &opened) != 0 || ::lstat(path.c_str(), &named) != 0 ||
      opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
    return Fail(ErrorCode::kNotFound, path + ": another has its name");
  }
  return fd;
}

Result<void> RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return FailErrno("remove " + path, error.value());
  return {};
}

class Collector {
 public:
  explicit Collector(const GarbageOptions& options)
      : options_(options), directory_(WithoutTrailingSlashes(options.directory)) {}

  Result<std::vector<Garbage>> Run() {
    TRY(FindSnapshots());
    std::set<std::string> needed;
    if (options_.keep) needed = TRY(Needed());
    for (const std::string& name : TRY(DirectoriesIn(directory_))) {
      if (IsLeftover(name, SnapshotFiles::kPart)) TRY(RemoveLeftover(name));
    }
    for (const auto& [name, manifest] : snapshots_) TRY(RemoveWorkingSetLeftovers(name));
    if (options_.keep) TRY(RemoveAllBut(needed));
    if (!options_.dry_run && !found_.empty()) TRY(SyncDirectory(directory_));
    return std::move(found_);
  }

 private:
  [[nodiscard]] std::string PathOf(const std::string& name) const {
    return directory_ + "/" + name;
  }

  // All that stand in the directory, with their manifests.
  Result<void> FindSnapshots() {
    snapshots_.clear();
    for (const std::string& name : TRY(DirectoriesIn(directory_))) {
      if (IsLeftover(name, SnapshotFiles::kPart)) continue;
      if (!PathExists(PathOf(name) + "/" + SnapshotFiles::kManifest)) continue;
      snapshots_.emplace(name, ReadManifest(PathOf(name)));
    }
    return {};
  }

  static Result<Manifest> ReadManifest(const std::string& path) {
    const SnapshotFolder folder = TRY(SnapshotFolder::Open(path));
    const auto text = TRY(folder.ReadMember(SnapshotFiles::kManifest, Manifest::kMostBytes));
    return Manifest::Parse(AsText(text), SnapshotFiles::kManifest);
  }

  // The name of `manifest`'s parent, if it stands in this directory.
  [[nodiscard]] Result<std::optional<std::string>> ParentHere(const Manifest& manifest) const {
    const std::string& path = manifest.parent->path;
    if (!path.starts_with('/')) return path;
    const std::string here = TRY(RealPath(directory_));
    const std::string there = TRY(RealPath(path));
    if (DirectoryOf(there) != here) return std::nullopt;
    return there.substr(there.rfind('/') + 1);
  }

  // Those to be kept, and all that they lie over.
  [[nodiscard]] Result<std::set<std::string>> Needed() const {
    std::set<std::string> needed;
    std::vector<std::string> names = *options_.keep;
    while (!names.empty()) {
      const std::string name = WithoutTrailingSlashes(std::move(names.back()));
      names.pop_back();
      if (!needed.insert(name).second) continue;
      const auto found = snapshots_.find(name);
      if (found == snapshots_.end()) {
        return Fail(ErrorCode::kNotFound, fmt::format("{}: no snapshot in {}", name, directory_));
      }
      const Manifest manifest = TRY(WithContext(found->second, PathOf(name)));
      if (!manifest.parent) continue;
      if (auto parent = TRY(WithContext(ParentHere(manifest), name))) names.push_back(*parent);
    }
    return needed;
  }

  Result<void> RemoveLeftover(const std::string& name) {
    const auto lock = LockAlone(PathOf(name));
    if (!lock) return {};  // Its writer lives, or it is gone by now.
    found_.push_back({name, "left by a writer that was killed", Garbage::Fate::kRemoved});
    return options_.dry_run ? Result<void>() : RemoveTree(PathOf(name));
  }

  Result<void> RemoveWorkingSetLeftovers(const std::string& name) {
    for (const std::string& inner : TRY(DirectoriesIn(PathOf(name)))) {
      if (!IsLeftover(inner, SnapshotFiles::kWorkingSetPart)) continue;
      const auto lock = LockAlone(PathOf(name));
      if (!lock) return {};
      const std::string path = fmt::format("{}/{}", name, inner);
      found_.push_back({path, "left by a writer that was killed", Garbage::Fate::kRemoved});
      if (!options_.dry_run) TRY(RemoveTree(PathOf(path)));
    }
    return {};
  }

  Result<void> RemoveAllBut(const std::set<std::string>& needed) {
    std::vector<std::string> doomed;
    for (const auto& [name, manifest] : snapshots_) {
      if (needed.contains(name)) continue;
      if (manifest) {
        doomed.push_back(name);
      } else {
        found_.push_back({name, manifest.error().message(), Garbage::Fate::kDamaged});
      }
    }
    // Whoever lies over others goes first: what is left when this is killed is whole.
    while (!doomed.empty()) {
      std::set<std::string> parents;
      for (const auto& [name, manifest] : snapshots_) {
        if (!manifest || !manifest->parent) continue;
        const auto parent = ParentHere(*manifest);
        if (parent && *parent) parents.insert(**parent);
      }
      const auto top = std::ranges::find_if(
          doomed, [&](const std::string& name) { return !parents.contains(name); });
      if (top == doomed.end()) break;
      TRY(RemoveSnapshot(*top));
      doomed.erase(top);
    }
    for (const std::string& name : doomed) {
      found_.push_back({name, "another that stays lies over it", Garbage::Fate::kInUse});
    }
    return {};
  }

  Result<void> RemoveSnapshot(const std::string& name) {
    const auto lock = LockAlone(PathOf(name));
    if (!lock) {
      found_.push_back({name, "somebody has it open", Garbage::Fate::kInUse});
      return {};
    }
    // Who wrote one over it since has let go of it by now, and nobody else can come.
    if (!options_.dry_run) TRY(FindSnapshots());
    if (HasChild(name)) {
      found_.push_back({name, "another that stays lies over it", Garbage::Fate::kInUse});
      return {};
    }
    found_.push_back({name, "not needed", Garbage::Fate::kRemoved});
    snapshots_.erase(name);
    if (options_.dry_run) return {};
    // It is gone in one step, and what is left of it if this is killed is a leftover.
    TempDir grave = TRY(TempDir::Create(PathOf(name) + SnapshotFiles::kPart));
    if (::rename(PathOf(name).c_str(), grave.path().c_str()) != 0) {
      return FailErrno("rename " + PathOf(name));
    }
    return RemoveTree(grave.path());
  }

  [[nodiscard]] bool HasChild(const std::string& name) const {
    for (const auto& [other, manifest] : snapshots_) {
      if (!manifest || !manifest->parent) continue;
      // One whose parent is gone lies over nothing here.
      const auto parent = ParentHere(*manifest);
      if (parent && *parent == name) return true;
    }
    return false;
  }

  const GarbageOptions& options_;
  const std::string directory_;
  std::map<std::string, Result<Manifest>> snapshots_;
  std::vector<Garbage> found_;
};

}  // namespace

Result<std::vector<Garbage>> CollectGarbage(const GarbageOptions& options) {
  return Collector(options).Run();
}

}  // namespace mayfly
