#include "vmm/cli/disk_options.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "vmm/cli/arguments.h"

namespace mayfly {
namespace {

constexpr size_t kMostPath = 4095;

std::unexpected<Error> Expected(std::string_view text, std::string_view what) {
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\": expected {}", Printable(text), what));
}

Result<void> SetOverlay(std::string_view text, DiskOptions* to) {
  if (text.empty() || text.size() > kMostPath) {
    return Expected(text, "a path of 1 to 4095 bytes");
  }
  to->overlay = text;
  return {};
}

Result<void> SetQueues(std::string_view text, DiskOptions* to) {
  to->queues = static_cast<uint16_t>(TRY(ParseCount(text, 1, DiskOptions::kMostQueues)));
  return {};
}

Result<void> SetSerial(std::string_view text, DiskOptions* to) {
  const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
  if (text.empty() || text.size() > DiskOptions::kMostSerial || !printable) {
    return Expected(text, "1 to 20 characters of printable ASCII");
  }
  to->serial = text;
  return {};
}

Result<void> SetBlockSize(std::string_view text, DiskOptions* to) {
  if (text != "512" && text != "4096") return Expected(text, "512 or 4096");
  to->block_size = text == "512" ? 512 : 4096;
  return {};
}

Result<void> SetEngine(std::string_view text, DiskOptions* to) {
  if (text != "io_uring" && text != "thread") return Expected(text, "io_uring or thread");
  to->engine = text == "thread" ? BlkEngine::kThread : BlkEngine::kUring;
  return {};
}

Result<void> SetRate(std::string_view text, DiskOptions* to) {
  to->limits.bytes = TRY(ParseRateLimit(text));
  return {};
}

Result<void> SetOps(std::string_view text, DiskOptions* to) {
  to->limits.operations = TRY(ParseRateLimit(text));
  return {};
}

struct Key {
  std::string_view name;
  bool number;  // In JSON.
  Result<void> (*set)(std::string_view text, DiskOptions* to);
};

constexpr std::string_view kOverlay = "overlay";
constexpr Key kKeys[] = {
    {kOverlay, false, SetOverlay}, {"queues", true, SetQueues},
    {"serial", false, SetSerial},  {"block_size", true, SetBlockSize},
    {"engine", false, SetEngine},  {"rate", false, SetRate},
    {"ops", false, SetOps},
};

std::string KnownKeys() {
  std::string names = "path, read_only";
  for (const Key& key : kKeys) names += ", " + std::string(key.name);
  return names;
}

const Key* FindKey(std::string_view name) {
  const auto* const key = std::ranges::find(kKeys, name, &Key::name);
  return key == std::end(kKeys) ? nullptr : key;
}

// Applies one option of --disk; false if it is none.
Result<bool> Apply(std::string_view item, DiskOptions* disk) {
  if (item == "ro" || item == "rw") {
    disk->read_only = item == "ro";
    return true;
  }
  const size_t equals = item.find('=');
  if (equals == std::string_view::npos) return false;
  const Key* const key = FindKey(item.substr(0, equals));
  if (key == nullptr) return false;
  TRY(WithContext(key->set(item.substr(equals + 1), disk), key->name));
  return true;
}

Result<void> CheckWhole(const DiskOptions& disk) {
  if (disk.overlay.empty()) return {};
  if (disk.read_only) {
    return Fail(ErrorCode::kInvalidArgument, "an overlay is for writing: not with read-only");
  }
  if (disk.engine == BlkEngine::kUring) {
    return Fail(ErrorCode::kInvalidArgument, "an overlay is served by a thread, not by io_uring");
  }
  return {};
}

}  // namespace

Result<DiskOptions> ParseDisk(std::string_view text) {
  DiskOptions disk;
  std::string_view path = text;
  for (size_t comma = path.rfind(','); comma != std::string_view::npos; comma = path.rfind(',')) {
    if (!TRY(Apply(path.substr(comma + 1), &disk))) break;
    path = path.substr(0, comma);
  }
  if (path.empty()) return Expected(text, "PATH or PATH,ro");
  disk.path = path;
  TRY(CheckWhole(disk));
  return disk;
}

Result<std::string> ParsePath(const JsonValue& value, const std::string& directory) {
  std::string path = TRY(value.AsString());
  if (path.empty() || path.size() > kMostPath) {
    return value.Refuse("expected a path of 1 to 4095 bytes");
  }
  return path.starts_with('/') ? path : directory + "/" + path;
}

Result<DiskOptions> ParseDisk(const JsonValue& value, const std::string& directory) {
  DiskOptions disk;
  const JsonObject object = TRY(value.AsObject());
  const JsonValue path = TRY(object.Require("path"));
  disk.path = TRY(ParsePath(path, directory));
  if (const auto read_only = object.Find("read_only")) disk.read_only = TRY(read_only->AsBool());
  for (const auto& [name, member] : object.Members()) {
    if (name == "path" || name == "read_only") continue;
    const Key* const key = FindKey(name);
    if (key == nullptr) {
      return member.Refuse(fmt::format("unknown key (known here: {})", KnownKeys()));
    }
    const std::string text =
        key->number ? std::to_string(TRY(member.AsInteger(0, UINT32_MAX))) : TRY(member.AsString());
    if (const auto set = key->set(text, &disk); !set) return member.Refuse(set.error().message());
    if (name == kOverlay) disk.overlay = TRY(ParsePath(member, directory));
  }
  if (const auto whole = CheckWhole(disk); !whole) return value.Refuse(whole.error().message());
  return disk;
}

Result<void> CheckDisks(const std::vector<DiskOptions>& disks) {
  if (disks.size() > DiskOptions::kMostDisks) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--disk: {} disks, {} are the most allowed", disks.size(),
                            DiskOptions::kMostDisks));
  }
  std::vector<struct stat> seen;
  for (const DiskOptions& disk : disks) {
    struct stat status{};
    if (::stat(disk.path.c_str(), &status) != 0) return FailErrno("disk " + Printable(disk.path));
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
      return Fail(
          ErrorCode::kCorrupt,
          fmt::format("disk {}: neither a regular file nor a block device", Printable(disk.path)));
    }
    const auto only_read = [](const DiskOptions& one) {
      return one.read_only || !one.overlay.empty();
    };
    for (size_t i = 0; i < seen.size(); ++i) {
      const bool same = seen[i].st_dev == status.st_dev && seen[i].st_ino == status.st_ino;
      if (!same || (only_read(disks[i]) && only_read(disk))) continue;
      return Fail(
          ErrorCode::kInvalidArgument,
          fmt::format("disk {}: given twice, and not read-only both times", Printable(disk.path)));
    }
    seen.push_back(status);
  }
  return {};
}

}  // namespace mayfly
