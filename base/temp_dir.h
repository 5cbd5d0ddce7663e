#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace mayfly {

// Owns a new directory, for this user only, and removes it with all that it holds.
class TempDir {
 public:
  // The directory is `prefix` and six characters more.
  static Result<TempDir> Create(const std::string& prefix);
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();

  [[nodiscard]] const std::string& path() const { return path_; }
  // Lets go of the directory, which stays or has another name by now.
  void Release() { path_.clear(); }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace mayfly
