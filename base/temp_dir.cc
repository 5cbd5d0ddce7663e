#include "base/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace mayfly {

Result<TempDir> TempDir::Create(const std::string& prefix) {
  std::string path = prefix + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return FailErrno("create the directory " + path);
  return TempDir(std::move(path));
}

TempDir::~TempDir() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace mayfly
