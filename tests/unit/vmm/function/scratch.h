#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/temp_dir.h"

namespace mayfly {

// A directory of the test's own, and the files that it puts there.
class Scratch {
 public:
  Scratch() : directory_(std::move(*TempDir::Create("/tmp/mayfly-test."))) {}

  [[nodiscard]] std::string operator/(const std::string& name) const {
    return directory_.path() + "/" + name;
  }
  [[nodiscard]] const std::string& path() const { return directory_.path(); }

  // Makes the directories above it too. Returns the file's path.
  std::string Write(const std::string& name, std::string_view text, mode_t mode = 0644) const {
    const std::string path = *this / name;
    std::filesystem::create_directories(path.substr(0, path.rfind('/')));
    std::ofstream(path, std::ios::binary) << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }

  [[nodiscard]] std::string Read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(*this / name, std::ios::binary).rdbuf();
    return text.str();
  }

  [[nodiscard]] bool Contains(const std::string& name) const {
    return std::filesystem::exists(std::filesystem::symlink_status(*this / name));
  }

  // How many entries stand in a directory, hidden ones too.
  [[nodiscard]] size_t CountEntries(const std::string& name) const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(*this / name), {}));
  }

 private:
  TempDir directory_;
};

// Sets a variable of the environment, or removes it, until the end of the test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    Set(value);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() { Set(old_); }

 private:
  void Set(const std::optional<std::string>& value) const {
    if (value) {
      ::setenv(name_, value->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

  const char* name_;
  std::optional<std::string> old_;
};

// The message of an error; "no error" if there is none.
template <class T>
std::string MessageOf(const Result<T>& result) {
  return result ? "no error" : result.error().message();
}

template <class T>
std::optional<ErrorCode> CodeOf(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code();
}

inline testing::AssertionResult Mentions(std::string_view text, std::string_view part) {
  if (text.find(part) != std::string_view::npos && text.find('\n') == std::string_view::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure()
         << "\"" << text << "\" is not one line with \"" << part << "\"";
}

}  // namespace mayfly
