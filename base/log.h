#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

namespace mayfly {

enum class LogLevel { kError, kWarning, kInfo, kDebug };

// Where log lines go. Each component that logs is given one; there is no global logger. Calls may
// come from any thread.
class LogSink {
 public:
  virtual ~LogSink() = default;
  // One line without a newline at its end.
  virtual void Write(LogLevel level, std::string_view line) = 0;
};

// Writes "mayfly: level: line" to standard error, one write(2) a line; drops what is above `most`.
class StderrLog final : public LogSink {
 public:
  explicit StderrLog(LogLevel most) : most_(most) {}
  void Write(LogLevel level, std::string_view line) override;

 private:
  LogLevel most_;
};

// A device's view of the log: prefixed with the device's name, and limited, because a guest decides
// how often it fires. After kBurst lines only every 2^n-th one is written, with the count of all.
class GuestLog {
 public:
  static constexpr uint64_t kBurst = 10;

  // `sink` may be null (nothing is written) and must outlive this.
  GuestLog(LogSink* sink, std::string_view name) : sink_(sink), name_(name) {}

  template <class... Args>
  void Warn(fmt::format_string<Args...> format, Args&&... args) {
    const uint64_t count = count_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (sink_ == nullptr || (count > kBurst && (count & (count - 1)) != 0)) return;
    Emit(count, fmt::format(format, std::forward<Args>(args)...));
  }

  [[nodiscard]] uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  void Emit(uint64_t count, std::string_view text);

  LogSink* sink_;
  std::string name_;
  std::atomic<uint64_t> count_{0};
};

}  // namespace mayfly
