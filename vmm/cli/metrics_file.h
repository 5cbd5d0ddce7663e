#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/log.h"
#include "base/mutex.h"
#include "base/result.h"
#include "devices/metrics.h"

namespace mayfly {

enum class MetricsFormat : uint8_t {
  kJson,
  kPrometheus,  // Its text format.
};

// Where --metrics asks a machine's metrics to be written: at its end, and whenever Write() is
// called. Any thread.
class MetricsFile {
 public:
  // Fails if nothing can be written at `path`, before a machine is started for nothing.
  static Result<void> CheckPath(const std::string& path);

  // A machine's metrics as they are now; JSON without a newline.
  using Source = std::function<Result<std::string>(MetricsFormat format)>;
  // Takes the file's new text, where somebody else writes it.
  using Writer = std::function<Result<void>(const std::string& text)>;

  // With an empty `path` nothing is ever written. `log` is borrowed; `writer` may be empty.
  MetricsFile(std::string path, LogSink* log, Writer writer = {})
      : path_(std::move(path)), log_(log), writer_(std::move(writer)) {}
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  [[nodiscard]] bool wanted() const { return !path_.empty(); }

  // Writes the file as Write() does.
  static Result<void> Replace(const std::string& path, const std::string& text);

  // `source` is called until Detach(), which writes the file once more and waits for a Write() that
  // is under way.
  void Attach(Source source);
  void Detach();

  // Replaces the file as a whole, so that a reader sees the old text or the new one: JSON if its
  // name ends in ".json", else Prometheus's text format (docs/metrics.md). Does nothing while
  // nothing is attached. A failure goes to the log: it is no reason to end a machine.
  void Write();

 private:
  void WriteLocked() REQUIRES(mutex_);
  Result<void> WriteText() REQUIRES(mutex_);

  const std::string path_;
  LogSink* const log_;
  const Writer writer_;
  Mutex mutex_;
  Source source_ GUARDED_BY(mutex_);
};

// Of a machine that outlives it.
MetricsFile::Source TextOf(const MetricsRegistry& metrics);

}  // namespace mayfly
