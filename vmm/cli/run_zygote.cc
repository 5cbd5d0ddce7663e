#include "vmm/cli/run_zygote.h"

#include <fcntl.h>

#include "base/file.h"
#include "jailer/seccomp.h"
#include "vmm/cli/output.h"
#include "vmm/zygote/function_clone_body.h"
#include "vmm/zygote/zygote_process.h"

namespace mayfly {
namespace {

constexpr int kMemoryFd = ZygoteProcess::kControlFd + 1;

Result<void> Serve(const ZygoteCommandOptions& options) {
  // Whoever waits for it is told why there is none.
  UniqueFd control(ZygoteProcess::kControlFd);
  const auto opened = [&]() -> Result<std::pair<std::unique_ptr<FunctionTemplate>, UniqueFd>> {
    FunctionTemplate::Options how;
    how.image = options.image;
    how.use_working_set = options.use_working_set;
    how.memory = UniqueFd(kMemoryFd);
    how.manifest = options.manifest;
    auto from = TRY(FunctionTemplate::Open(options.directory, std::move(how)));
    return std::pair(std::move(from), TRY(OpenFile("/dev/kvm", O_RDWR)));
  }();
  if (!opened) {
    IgnoreFailure(ReportToHost(control.get(), opened.error()));
    return std::unexpected(opened.error());
  }
  const auto& [from, kvm] = *opened;
  JailOptions jail;
  jail.cgroup = options.jail.limits;
  if (options.jail.file_bytes) jail.process.file_bytes = *options.jail.file_bytes;
  FunctionCloneBody body(from.get(), kvm.get());
  return Zygote::Run(std::move(jail), {kvm.get(), from->memory_fd(), from->image().fd().get()},
                     std::move(control), options.stock, &body);
}

}  // namespace

int RunZygote(const ZygoteCommandOptions& options) {
  PrepareForFilters();
  const Result<void> served = Serve(options);
  return served ? 0 : ReportError(served.error());
}

}  // namespace mayfly
