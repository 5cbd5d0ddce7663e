#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "snapshot/verified_stamp.h"
#include "vmm/capi/handle_table.h"
#include "vmm/capi/status.h"
#include "vmm/include/mayfly.h"

namespace mayfly::capi {

class Library;

// The texts for mayfly_error(): for each thread that failed lately, its last one.
class ErrorTexts {
 public:
  void Set(std::string text);
  [[nodiscard]] std::string Get() const;

 private:
  // Threads come and go, and none of them says goodbye.
  static constexpr size_t kMostThreads = 64;

  mutable Mutex mutex_;
  std::vector<std::pair<std::thread::id, std::string>> texts_ GUARDED_BY(mutex_);
};

// What every object behind a handle has.
class ApiObject : public Object {
 public:
  // Borrowed; it is closed last.
  explicit ApiObject(Library* library) : library_(library) {}

  [[nodiscard]] Library& library() const { return *library_; }
  ErrorTexts& errors() { return errors_; }

 private:
  Library* const library_;
  ErrorTexts errors_;
};

// One instance of the library: its handles, its log, and who is in a callback. Any thread.
class Library final : public ApiObject, public LogSink {
 public:
  static constexpr Kind kKind = Kind::kLibrary;

  struct Options {
    void (*log)(void*, int, const char*, size_t) = nullptr;
    void* user = nullptr;
    LogLevel log_level = LogLevel::kError;
    std::optional<VerifiedStamps> stamps;
  };

  explicit Library(Options options) : ApiObject(this), options_(std::move(options)) {}

  [[nodiscard]] HandleTable& handles() { return handles_; }
  // Null if nothing is remembered.
  [[nodiscard]] const VerifiedStamps* stamps() const {
    return options_.stamps ? &*options_.stamps : nullptr;
  }

  void Write(LogLevel level, std::string_view line) override;

  // True on a thread that is in a callback of this instance's.
  [[nodiscard]] bool InCallback() const;

  // Held around every callback.
  class CallbackScope {
   public:
    explicit CallbackScope(const Library* library);
    CallbackScope(const CallbackScope&) = delete;
    CallbackScope& operator=(const CallbackScope&) = delete;
    ~CallbackScope();

   private:
    const Library* const library_;
  };

 private:
  const Options options_;
  HandleTable handles_;
  mutable std::atomic<size_t> callback_count_{0};
  mutable Mutex mutex_;
  mutable std::vector<std::thread::id> in_callbacks_ GUARDED_BY(mutex_);
};

}  // namespace mayfly::capi
