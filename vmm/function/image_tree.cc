#include "vmm/function/image_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <climits>
#include <deque>
#include <memory>

#include "base/file.h"
#include "base/json.h"

namespace mayfly {
namespace {

// Each level of a tree that is being copied holds one descriptor open.
constexpr int kMostDepth = 128;
// As many as the kernel follows (path_resolution(7)).
constexpr int kMostLinks = 40;

struct PathParts {
  std::string directory;
  std::string name;
};

PathParts Split(const std::string& path) {
  const size_t slash = path.rfind('/');
  return {path.substr(0, slash), path.substr(slash + 1)};
}

std::string Join(const std::string& directory, const std::string& name) {
  return directory + "/" + name;
}

std::deque<std::string> Components(std::string_view path) {
  std::deque<std::string> components;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) components.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return components;
}

// Where something of the host that stands at `path`, without links in it, goes in the image.
std::string ImagePathOf(const std::string& path) {
  for (const std::string_view top : {"/bin/", "/sbin/", "/lib/", "/lib64/"}) {
    if (path.starts_with(top)) return "/usr" + path;
  }
  return path;
}

bool IsMergedTop(std::string_view path) {
  return path == "/bin" || path == "/sbin" || path == "/lib" || path == "/lib64";
}

std::string_view KindOf(mode_t mode) {
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISBLK(mode) || S_ISCHR(mode)) return "a device";
  return "of an unknown kind";
}

Result<std::string> ReadLink(int directory, const std::string& name, const std::string& host_path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  if (length < 0) return FailErrno("read the link " + Printable(host_path));
  target.resize(static_cast<size_t>(length));
  return target;
}

Result<std::vector<std::string>> ListDirectory(UniqueFd directory, const std::string& host_path) {
  struct Close {
    void operator()(DIR* stream) const { ::closedir(stream); }
  };
  const std::unique_ptr<DIR, Close> stream(::fdopendir(directory.get()));
  if (stream == nullptr) return FailErrno("list " + Printable(host_path));
  (void)directory.Release();
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return FailErrno("list " + Printable(host_path));
    if (entry == nullptr) break;
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<ImageTree> ImageTree::Create(const std::string& directory, const Interrupts* interrupts) {
  ImageTree tree(TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY)), interrupts);
  for (const std::string name : {"bin", "lib", "lib64", "sbin"}) {
    TRY(tree.AddDirectory("/usr/" + name));
    TRY(tree.AddLink("/" + name, "usr/" + name));
  }
  return tree;
}

Result<void> ImageTree::AddDirectory(const std::string& image_path) {
  TRY(OpenDirectory(image_path));
  return {};
}

Result<UniqueFd> ImageTree::OpenDirectory(const std::string& image_path) const {
  UniqueFd directory = TRY(root_.Duplicate());
  for (const std::string& name : Components(image_path)) {
    if (::mkdirat(directory.get(), name.c_str(), 0755) == 0) {
      // mkdir() leaves out what the umask forbids.
      if (::fchmodat(directory.get(), name.c_str(), 0755, 0) != 0) return FailErrno("chmod");
    } else if (errno != EEXIST) {
      return FailErrno("create the directory " + Printable(image_path));
    }
    UniqueFd next(
        ::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return FailErrno("in the image: open " + Printable(image_path));
    directory = std::move(next);
  }
  return directory;
}

Result<void> ImageTree::AddText(const std::string& image_path, std::string_view text) {
  const PathParts parts = Split(image_path);
  const UniqueFd directory = TRY(OpenDirectory(parts.directory));
  const UniqueFd file(::openat(directory.get(), parts.name.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file.valid() && errno == EEXIST) return {};
  if (!file.valid() || ::fchmod(file.get(), 0644) != 0) {
    return FailErrno("in the image: create " + image_path);
  }
  return WriteAll(file.get(), AsBytes(text), image_path);
}

Result<void> ImageTree::AddLink(const std::string& image_path, const std::string& target) {
  const PathParts parts = Split(image_path);
  const UniqueFd directory = TRY(OpenDirectory(parts.directory));
  if (::symlinkat(target.c_str(), directory.get(), parts.name.c_str()) == 0) return {};
  if (errno == EEXIST) return {};
  return FailErrno("in the image: create the link " + Printable(image_path));
}

Result<void> ImageTree::AddTree(const std::string& host_directory, const std::string& image_path) {
  UniqueFd source = TRY(OpenFile(host_directory, O_RDONLY | O_DIRECTORY));
  return CopyEntries(std::move(source), host_directory, image_path, 0);
}

Result<void> ImageTree::CopyEntries(UniqueFd source, const std::string& host_path,
                                    const std::string& image_path, int depth) {
  if (depth > kMostDepth) {
    return Fail(ErrorCode::kTooLarge, fmt::format("{}: nested more than {} directories deep",
                                                  Printable(host_path), kMostDepth));
  }
  TRY(AddDirectory(image_path));
  UniqueFd listed = TRY(source.Duplicate());
  const std::vector<std::string> names = TRY(ListDirectory(std::move(listed), host_path));
  for (const std::string& name : names) {
    TRY(interrupts_->Check());
    TRY(CopyEntry(source.get(), name, {Join(host_path, name), Join(image_path, name)}, depth));
  }
  return {};
}

Result<void> ImageTree::CopyEntry(int source, const std::string& name, const File& paths,
                                  int depth) {
  struct stat status{};
  if (::fstatat(source, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return FailErrno("stat " + Printable(paths.host_path));
  }
  if (S_ISLNK(status.st_mode)) {
    const std::string target = TRY(ReadLink(source, name, paths.host_path));
    return AddLink(paths.image_path, target);
  }
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is {}; only files, directories and links can be packed",
                            Printable(paths.host_path), KindOf(status.st_mode)));
  }
  UniqueFd entry(::openat(source, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!entry.valid()) return FailErrno("open " + Printable(paths.host_path));
  if (S_ISDIR(status.st_mode)) {
    return CopyEntries(std::move(entry), paths.host_path, paths.image_path, depth + 1);
  }
  return CopyFile(std::move(entry), status, paths);
}

Result<void> ImageTree::CopyFile(UniqueFd source, const struct stat& status, const File& paths) {
  const PathParts parts = Split(paths.image_path);
  const UniqueFd directory = TRY(OpenDirectory(parts.directory));
  const UniqueFd target(::openat(directory.get(), parts.name.c_str(),
                                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target.valid() && errno == EEXIST) return {};
  if (!target.valid()) return FailErrno("in the image: create " + Printable(paths.image_path));
  TRY(CopyBytes(source.get(), target.get(), paths));
  if (::fchmod(target.get(), (status.st_mode & S_IXUSR) != 0 ? 0755 : 0644) != 0) {
    return FailErrno("chmod " + Printable(paths.image_path));
  }
  files_.push_back(paths);
  return {};
}

Result<void> ImageTree::CopyBytes(int source, int target, const File& paths) {
  std::vector<uint8_t> buffer(size_t{256} * 1024);
  while (true) {
    TRY(interrupts_->Check());
    const ssize_t count = ::read(source, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("read " + Printable(paths.host_path));
    if (count == 0) return {};
    const auto piece = std::span(buffer).first(static_cast<size_t>(count));
    if (piece.size() > kMostBytes - bytes_) {
      return Fail(ErrorCode::kTooLarge,
                  fmt::format("{}: with this file the image holds more than {} GiB",
                              Printable(paths.host_path), kMostBytes >> 30));
    }
    TRY(WriteAll(target, piece, "the copy of " + Printable(paths.host_path)));
    bytes_ += piece.size();
  }
}

Result<void> ImageTree::AddHostPath(const std::string& host_path) {
  // Resolved by hand, as the kernel would, to see every link. `here` never has links in it.
  std::deque<std::string> left = Components(host_path);
  std::string here;
  int links = 0;
  while (!left.empty()) {
    const std::string name = left.front();
    left.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      here = Split(here).directory;
      continue;
    }
    const std::string path = Join(here, name);
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) return FailErrno("include " + Printable(host_path));
    if (S_ISLNK(status.st_mode)) {
      if (++links > kMostLinks) return FailErrno("include " + Printable(host_path), ELOOP);
      const std::string target = TRY(ReadLink(AT_FDCWD, path, path));
      if (!IsMergedTop(path)) TRY(AddLink(ImagePathOf(path), target));
      if (target.starts_with('/')) here.clear();
      const std::deque<std::string> more = Components(target);
      left.insert(left.begin(), more.begin(), more.end());
      continue;
    }
    here = path;
  }
  const PathParts parts = Split(here);
  const UniqueFd directory =
      TRY(OpenFile(here.empty() ? "/" : parts.directory + "/", O_RDONLY | O_DIRECTORY));
  return CopyEntry(directory.get(), parts.name, {here, ImagePathOf(here)}, 0);
}

Result<void> ImageTree::AddHostFile(const std::string& host_path, const std::string& image_path) {
  UniqueFd source = TRY(OpenFile(host_path, O_RDONLY | O_NONBLOCK));
  struct stat status{};
  if (::fstat(source.get(), &status) != 0) return FailErrno("stat " + Printable(host_path));
  if (!S_ISREG(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, Printable(host_path) + ": not a regular file");
  }
  return CopyFile(std::move(source), status, {host_path, image_path});
}

Result<UniqueFd> ImageTree::Open(const std::string& image_path, int flags) const {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(
      static_cast<int>(::syscall(SYS_openat2, root_.get(), image_path.c_str(), &how, sizeof(how))));
  if (!fd.valid()) return FailErrno("in the image: open " + Printable(image_path));
  return fd;
}

bool ImageTree::Contains(const std::string& image_path) const {
  return Open(image_path, O_PATH).has_value();
}

}  // namespace mayfly
