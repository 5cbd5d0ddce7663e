#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "jailer/jail.h"

namespace mayfly {

// A directory for the records of jails that goes with the test.
class RecordDirectory {
 public:
  RecordDirectory() {
    std::string pattern = "/tmp/mayfly-jail-test.XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  RecordDirectory(const RecordDirectory&) = delete;
  RecordDirectory& operator=(const RecordDirectory&) = delete;
  ~RecordDirectory() { std::filesystem::remove_all(path_); }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Why jails cannot be tested here; empty if they can.
inline std::string WhyNoJails() {
  return ::geteuid() == 0 ? "" : "needs root, which the supervisor of a jail with a user has";
}

// Runs `body` in a jail, and returns how it ended.
inline JailEnd RunInJail(JailOptions options, const std::function<int()>& body,
                         const std::vector<int>& keep = {}) {
  auto jail = Jail::Create(std::move(options));
  if (!jail) return {-1, 0, false};
  if (!(*jail)->Start(keep, body)) return {-1, 0, false};
  return (*jail)->Wait().value_or(JailEnd{-1, 0, false});
}

}  // namespace mayfly
