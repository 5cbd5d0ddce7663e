#include "vmm/cli/metrics_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "base/json.h"

namespace mayfly {
namespace {

Result<void> WriteWhole(const std::string& path, const std::string& text) {
  const UniqueFd file = TRY(OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  return WriteAll(file.get(), AsBytes(text), path);
}

}  // namespace

Result<void> MetricsFile::Replace(const std::string& path, const std::string& text) {
  // Beside the file, so that the rename stays in one file system; with the process in its name,
  // because several machines may be told to write the same file.
  const std::string temporary = fmt::format("{}.{}.new", path, ::getpid());
  Result<void> written = WriteWhole(temporary, text);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = FailErrno("rename " + temporary);
  }
  if (!written) ::unlink(temporary.c_str());
  return written;
}

Result<void> MetricsFile::CheckPath(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("metrics: {} is no regular file", Printable(path)));
  }
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (::access(directory.c_str(), W_OK) != 0) return FailErrno("metrics: " + Printable(path));
  return {};
}

void MetricsFile::Attach(Source source) {
  MutexLock lock(mutex_);
  source_ = std::move(source);
}

void MetricsFile::Detach() {
  MutexLock lock(mutex_);
  WriteLocked();
  source_ = nullptr;
}

void MetricsFile::Write() {
  MutexLock lock(mutex_);
  WriteLocked();
}

void MetricsFile::WriteLocked() {
  if (path_.empty() || !source_) return;
  const Result<void> written = WriteText();
  if (!written) log_->Write(LogLevel::kError, "metrics: " + written.error().message());
}

Result<void> MetricsFile::WriteText() {
  const bool json = path_.ends_with(".json");
  std::string text = TRY(source_(json ? MetricsFormat::kJson : MetricsFormat::kPrometheus));
  if (json) text += '\n';
  return writer_ ? writer_(text) : Replace(path_, text);
}

MetricsFile::Source TextOf(const MetricsRegistry& metrics) {
  return [&metrics](MetricsFormat format) -> Result<std::string> {
    return format == MetricsFormat::kJson ? metrics.Json() : metrics.Prometheus();
  };
}

}  // namespace mayfly
