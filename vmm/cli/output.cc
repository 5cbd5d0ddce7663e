#include "vmm/cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/file.h"

namespace mayfly {

int ReportError(const Error& error) {
  // One write, so that lines of several processes do not mix. If standard error is gone, nobody
  // can be told.
  IgnoreFailure(
      WriteAll(STDERR_FILENO, AsBytes(fmt::format("mayfly: {}\n", error.message())), "stderr"));
  return static_cast<int>(ExitCodeOf(error.code()));
}

int PrintText(std::string_view text) {
  const auto written = WriteAll(STDOUT_FILENO, AsBytes(text), "standard output");
  return written ? static_cast<int>(ExitCode::kSuccess) : ReportError(written.error());
}

}  // namespace mayfly
