#include "vmm/function/kernel_bundle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "base/file.h"
#include "base/json.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostLoadOrderBytes = uint64_t{64} * 1024;
constexpr size_t kMostModules = 256;

std::string Join(const std::string& directory, const std::string& name) {
  return directory + "/" + name;
}

Result<mode_t> ModeOf(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return FailErrno(Printable(path));
  return status.st_mode;
}

Result<std::string> FindKernel(const std::string& directory) {
  for (const std::string name : {"vmlinux", "bzImage", "vmlinuz"}) {
    std::string path = Join(directory, name);
    const auto mode = ModeOf(path);
    if (!mode && mode.error().code() == ErrorCode::kNotFound) continue;
    if (!mode) return std::unexpected(mode.error());
    if (!S_ISREG(*mode)) return Fail(ErrorCode::kCorrupt, Printable(path) + ": not a file");
    return path;
  }
  return Fail(ErrorCode::kNotFound,
              Printable(directory) + ": no vmlinux, bzImage or vmlinuz in this directory");
}

Result<std::vector<std::string>> ReadLoadOrder(const std::string& directory) {
  const std::string path = directory + "/load-order";
  std::vector<std::string> modules;
  const auto bytes = ReadFile(path, kMostLoadOrderBytes);
  if (!bytes && bytes.error().code() == ErrorCode::kNotFound) return modules;
  if (!bytes) return std::unexpected(bytes.error());
  std::string_view text = AsText(*bytes);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string name(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (name.empty()) continue;
    if (!name.ends_with(".ko") || name.starts_with('.') || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("{}: \"{}\" is not the name of a module", path, Printable(name)));
    }
    std::string module = Join(directory, name);
    const mode_t mode = TRY(WithContext(ModeOf(module), "load-order"));
    if (!S_ISREG(mode)) return Fail(ErrorCode::kCorrupt, Printable(module) + ": not a file");
    if (modules.size() == kMostModules) {
      return Fail(ErrorCode::kCorrupt, fmt::format("{}: more than {} modules", path, kMostModules));
    }
    modules.push_back(std::move(module));
  }
  return modules;
}

std::optional<std::string> Variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace

Result<KernelBundle> ResolveKernel(const std::string& path) {
  const mode_t mode = TRY(WithContext(ModeOf(path), "kernel"));
  KernelBundle bundle;
  if (S_ISDIR(mode)) {
    bundle.kernel = TRY(WithContext(FindKernel(path), "kernel"));
    bundle.modules = TRY(WithContext(ReadLoadOrder(path + "/modules"), "kernel"));
  } else if (S_ISREG(mode)) {
    bundle.kernel = path;
  } else {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("kernel: {}: neither a file nor a directory", Printable(path)));
  }
  return bundle;
}

std::string KernelCacheDirectory() {
  if (const auto cache = Variable("MAYFLY_CACHE")) return *cache + "/kernels";
  if (const auto cache = Variable("XDG_CACHE_HOME")) return *cache + "/mayfly/kernels";
  return Variable("HOME").value_or("") + "/.cache/mayfly/kernels";
}

Result<std::string> FindDefaultKernel() {
  if (const auto kernel = Variable("MAYFLY_KERNEL")) return *kernel;
  const std::string directory = KernelCacheDirectory();
  for (const std::string name : {"minimal", "debian"}) {
    std::string path = Join(directory, name);
    if (ModeOf(path)) return path;
  }
  return Fail(ErrorCode::kNotFound,
              fmt::format("kernel: none in {}: run scripts/fetch-guest-kernel (Debian's) or "
                          "scripts/build-guest-kernel (minimal), or name one with --kernel",
                          Printable(directory)));
}

}  // namespace mayfly
