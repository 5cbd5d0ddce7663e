#include "base/log.h"

#include <unistd.h>

namespace mayfly {
namespace {

std::string_view NameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "";
}

}  // namespace

void StderrLog::Write(LogLevel level, std::string_view line) {
  if (level > most_) return;
  const std::string text = fmt::format("mayfly: {}: {}\n", NameOf(level), line);
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

void GuestLog::Emit(uint64_t count, std::string_view text) {
  if (count > kBurst) {
    sink_->Write(LogLevel::kWarning, fmt::format("{}: {} ({} such so far)", name_, text, count));
  } else {
    sink_->Write(LogLevel::kWarning, fmt::format("{}: {}", name_, text));
  }
}

}  // namespace mayfly
