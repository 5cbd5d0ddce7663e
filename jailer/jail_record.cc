#include "jailer/jail_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <optional>

#include "base/file.h"
#include "jailer/dead_socket.h"
#include "jailer/safe_path.h"

namespace mayfly {
namespace {

constexpr char kLock[] = "lock";
constexpr char kRecord[] = "cgroups";
constexpr char kSockets[] = "sockets";
constexpr size_t kMostRecord = 64 << 10;

// Held by collectors while they look who is alive, and shared by supervisors between the creation
// of a record and the lock in it: a record without a lock is then a dead one.
class RootLock {
 public:
  static Result<RootLock> Take(int root, int operation) {
    while (::flock(root, operation) != 0) {
      if (errno != EINTR) return FailErrno("lock the directory of jails");
    }
    return RootLock(root);
  }
  RootLock(RootLock&& other) noexcept : root_(std::exchange(other.root_, -1)) {}
  RootLock& operator=(RootLock&&) = delete;
  ~RootLock() {
    if (root_ >= 0) ::flock(root_, LOCK_UN);
  }

 private:
  explicit RootLock(int root) : root_(root) {}
  int root_;
};

void RemoveRecord(int root, int directory, const JailId& id) {
  ::unlinkat(directory, kRecord, 0);
  ::unlinkat(directory, kSockets, 0);
  ::unlinkat(directory, kLock, 0);
  ::unlinkat(root, id.text().c_str(), AT_REMOVEDIR);
}

Result<void> WriteNew(int directory, const std::string& name, const std::string& text) {
  const UniqueFd file = TRY(CreateBeneath(directory, name));
  return WriteAll(file.get(), AsBytes(text), name);
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<Cgroup::Place> ParsePlaces(const std::string& text) {
  std::vector<Cgroup::Place> places;
  for (const std::string& line : LinesOf(text)) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    places.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  return places;
}

// A jail whose supervisor is dead; the lock is held by the collector from here on.
struct DeadJail {
  JailId id;
  UniqueFd directory;
  UniqueFd lock;
};

// Nothing if it is alive.
Result<std::optional<DeadJail>> LookAt(int root, const JailId& id) {
  UniqueFd directory = TRY(OpenBeneath(root, id.text(), O_RDONLY | O_DIRECTORY));
  Result<UniqueFd> lock = OpenBeneath(directory.get(), kLock, O_RDWR | O_NONBLOCK);
  if (!lock && lock.error().code() == ErrorCode::kNotFound) lock = UniqueFd();
  if (!lock) return std::unexpected(lock.error());
  if (lock->valid() && ::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    return FailErrno("lock " + id.text());
  }
  return DeadJail{id, std::move(directory), std::move(*lock)};
}

Result<std::vector<std::string>> NamesIn(int root) {
  UniqueFd copy = TRY(OpenBeneath(root, ".", O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(copy.get()), &::closedir);
  if (!listing) return FailErrno("list the directory of jails");
  (void)copy.Release();
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

bool IsGoneOrNoDirectory(const Error& error) {
  const int reason = error.errno_value();
  return reason == ENOENT || reason == ENOTDIR || reason == ELOOP;
}

Result<std::string> ReadIfThere(const DeadJail& jail, const std::string& name) {
  Result<std::string> text = ReadOwnFile(jail.directory.get(), name, kMostRecord);
  if (!text && text.error().code() == ErrorCode::kNotFound) return std::string();
  return text;
}

Result<void> Collect(int root, const DeadJail& jail) {
  for (const Cgroup::Place& place : ParsePlaces(TRY(ReadIfThere(jail, kRecord)))) {
    // The record says where, and never whose: a line of somebody else's removes nothing.
    if (!place.path.ends_with("/" + jail.id.text())) {
      return Fail(ErrorCode::kCorrupt, place.path + ": not of this jail");
    }
    TRY(Cgroup::Remove(place));
  }
  // Once its processes are gone.
  for (const std::string& path : LinesOf(TRY(ReadIfThere(jail, kSockets)))) {
    TRY(RemoveDeadSocket(path));
  }
  RemoveRecord(root, jail.directory.get(), jail.id);
  return {};
}

}  // namespace

std::string JailRecord::DefaultDirectory() {
  if (const char* const chosen = std::getenv("MAYFLY_RUN_DIR")) return chosen;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() != 0 && runtime != nullptr) return std::string(runtime) + "/mayfly/jails";
  return ::geteuid() == 0 ? "/run/mayfly/jails" : fmt::format("/tmp/mayfly-{}/jails", ::geteuid());
}

Result<JailRecord> JailRecord::Create(const std::string& directory, const JailId& id) {
  UniqueFd root = TRY(WithContext(OpenPrivateDirectory(directory), "jail"));
  const RootLock creating = TRY(RootLock::Take(root.get(), LOCK_SH));
  if (::mkdirat(root.get(), id.text().c_str(), 0700) != 0) {
    if (errno != EEXIST) return FailErrno(fmt::format("jail: create {}/{}", directory, id.text()));
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("jail: {}: is in use (if it is dead, mayfly-jailer gc removes it)", id.text()));
  }
  UniqueFd own = TRY(OpenBeneath(root.get(), id.text(), O_RDONLY | O_DIRECTORY));
  UniqueFd lock = TRY(CreateBeneath(own.get(), kLock));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return FailErrno("jail: lock " + id.text());
  return JailRecord(std::move(root), std::move(own), std::move(lock), id);
}

JailRecord::~JailRecord() {
  if (directory_.valid()) RemoveRecord(root_.get(), directory_.get(), id_);
}

Result<void> JailRecord::Write(const Contents& contents) const {
  std::string sockets;
  for (const std::string& path : contents.sockets) {
    if (path.find('\n') != std::string::npos) {
      return Fail(ErrorCode::kInvalidArgument, "jail: a socket's path has a line's end in it");
    }
    sockets += path + "\n";
  }
  if (!sockets.empty()) TRY(WriteNew(directory_.get(), kSockets, sockets));
  std::string cgroups;
  for (const Cgroup::Place& place : contents.cgroups) {
    cgroups += place.mount + "\t" + place.path + "\n";
  }
  if (cgroups.empty()) return {};
  return WriteNew(directory_.get(), kRecord, cgroups);
}

Result<CollectedJails> CollectJails(const std::string& directory) {
  const UniqueFd root = TRY(OpenPrivateDirectory(directory));
  CollectedJails collected;
  std::vector<DeadJail> dead;
  {
    const RootLock looking = TRY(RootLock::Take(root.get(), LOCK_EX));
    for (const std::string& name : TRY(NamesIn(root.get()))) {
      // Whatever has no name of ours, or is no directory, is nothing of ours.
      const auto id = JailId::Parse(name);
      if (!id) continue;
      auto jail = LookAt(root.get(), *id);
      if (!jail && IsGoneOrNoDirectory(jail.error())) continue;
      if (!jail) {
        collected.failures.push_back(std::move(jail).error());
      } else if (*jail) {
        dead.push_back(std::move(**jail));
      } else {
        ++collected.alive;
      }
    }
  }
  for (const DeadJail& jail : dead) {
    Result<void> removed = WithContext(Collect(root.get(), jail), jail.id.text());
    if (removed) {
      ++collected.removed;
    } else {
      collected.failures.push_back(std::move(removed).error());
    }
  }
  return collected;
}

}  // namespace mayfly
