#include "vmm/function/library_closure.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "vmm/function/elf_dependencies.h"

namespace mayfly {
namespace {

constexpr char kLoader[] = "/lib64/ld-linux-x86-64.so.2";

// LD_LIBRARY_PATH as mayfly-init sets it, where it goes beyond the default directories.
constexpr std::array kLibraryPath{"/var/runtime", "/var/runtime/lib", "/var/task", "/var/task/lib",
                                  "/opt/lib"};
// Where a loader of Debian's looks without being told (ld.so(8)).
constexpr std::array kDefaultDirectories{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
                                         "/lib", "/usr/lib"};
// Where other loaders, or ours with a cache, look too. The image has no cache: what is found here
// goes to a default directory.
constexpr std::array kOtherHostDirectories{"/lib64", "/usr/lib64",
                                           "/usr/local/lib/x86_64-linux-gnu", "/usr/local/lib"};

std::string Join(const std::string& directory, const std::string& name) {
  return directory + "/" + name;
}

bool IsTaskPath(std::string_view path) {
  return path == kTaskRoot || path.starts_with(std::string(kTaskRoot) + "/");
}

// The directories of a DT_RPATH or DT_RUNPATH. What a loader's variables other than $ORIGIN would
// stand for is not known here: such directories are left out.
std::vector<std::string> RunDirectories(const std::string& list, const std::string& origin) {
  std::vector<std::string> directories;
  for (size_t start = 0; start < list.size();) {
    const size_t end = std::min(list.find(':', start), list.size());
    std::string directory = list.substr(start, end - start);
    for (const std::string_view variable : {"${ORIGIN}", "$ORIGIN"}) {
      const size_t at = directory.find(variable);
      if (at != std::string::npos) directory.replace(at, variable.size(), origin);
    }
    if (directory.starts_with('/') && directory.find('$') == std::string::npos) {
      directories.push_back(std::move(directory));
    }
    start = end + 1;
  }
  return directories;
}

// True for a library that an x86-64 program can load.
bool IsLibrary(const std::string& host_path) {
  const auto fd = OpenFile(host_path, O_RDONLY | O_NONBLOCK);
  if (!fd) return false;
  const auto dependencies = ReadElfDependencies(fd->get(), host_path);
  return dependencies && dependencies->has_value() && (*dependencies)->shared_object;
}

// True if `name` is in `directory` in the image, or could be copied there from the host.
Result<bool> FindIn(ImageTree& tree, const std::string& directory, const std::string& name) {
  const std::string path = Join(directory, name);
  if (tree.Contains(path)) return true;
  if (IsTaskPath(directory) || !IsLibrary(path)) return false;
  TRY(tree.AddHostPath(path));
  return true;
}

Result<bool> FindLibrary(ImageTree& tree, const std::string& name,
                         const std::vector<std::string>& run_directories) {
  if (name.starts_with('/'))
    return FindIn(tree, name.substr(0, name.rfind('/')), name.substr(name.rfind('/') + 1));
  for (const std::string& directory : run_directories) {
    if (TRY(FindIn(tree, directory, name))) return true;
  }
  for (const std::string directory : kLibraryPath) {
    if (tree.Contains(Join(directory, name))) return true;
  }
  for (const std::string directory : kDefaultDirectories) {
    if (TRY(FindIn(tree, directory, name))) return true;
  }
  for (const std::string directory : kOtherHostDirectories) {
    const std::string path = Join(directory, name);
    if (!IsLibrary(path)) continue;
    TRY(tree.AddHostFile(path, Join("/usr/lib/x86_64-linux-gnu", name)));
    return true;
  }
  return false;
}

Result<void> AddLibrariesOf(ImageTree& tree, const ImageTree::File& file) {
  const UniqueFd fd = TRY(tree.Open(file.image_path, O_RDONLY));
  const std::string name = Printable(file.host_path);
  const auto dependencies = TRY(ReadElfDependencies(fd.get(), name));
  if (!dependencies) return {};
  const std::string& loader = dependencies->interpreter;
  if (!loader.empty() && !tree.Contains(loader)) {
    if (!loader.starts_with('/') || !IsLibrary(loader)) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: needs the loader {}, which is not on this host", name,
                              Printable(loader)));
    }
    TRY(tree.AddHostPath(loader));
  }
  const std::string origin = file.image_path.substr(0, file.image_path.rfind('/'));
  const std::string& list =
      dependencies->runpath.empty() ? dependencies->rpath : dependencies->runpath;
  const std::vector<std::string> run_directories = RunDirectories(list, origin);
  for (const std::string& library : dependencies->needed) {
    if (TRY(FindLibrary(tree, library, run_directories))) continue;
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: needs the shared library {}, which is neither in the function's "
                            "directory nor on this host",
                            name, Printable(library)));
  }
  return {};
}

}  // namespace

Result<void> AddCLibrary(ImageTree& tree) {
  for (const std::string path : {kLoader, "/lib/x86_64-linux-gnu/libc.so.6"}) {
    TRY(WithContext(tree.AddHostPath(path), "the C library"));
  }
  return {};
}

Result<void> AddLibraryClosure(ImageTree& tree) {
  // By index and by copy: the list grows while it is walked.
  for (size_t i = 0; i < tree.files().size(); ++i) {
    const ImageTree::File file = tree.files()[i];
    TRY(AddLibrariesOf(tree, file));
  }
  return {};
}

}  // namespace mayfly
