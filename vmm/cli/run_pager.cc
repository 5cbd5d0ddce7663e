#include "vmm/cli/run_pager.h"

#include <csignal>

#include "base/log.h"
#include "snapshot/pager_service.h"
#include "snapshot/snapshot_directory.h"
#include "snapshot/verified_stamp.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"

namespace mayfly {
namespace {

// Unless it was compared before, or shall not be, each chunk is when it is used.
Result<std::unique_ptr<PageSource>> SourceOf(std::unique_ptr<MemoryImage> image,
                                             const Sha256Digest& manifest, bool unverified) {
  if (unverified) return TrustedPages(std::move(image));
  const VerifiedStamps stamps = TRY(VerifiedStamps::Open(StampDirectory()));
  const std::string stamp = TRY(VerifiedStamps::StampOf(image->layers().fds(), manifest));
  return stamps.Has(stamp) ? TrustedPages(std::move(image))
                           : CheckedPages::Create(std::move(image));
}

Result<int> Serve(const PagerCommandOptions& options) {
  StderrLog log(LogLevel::kWarning);
  Snapshot snapshot = TRY(Snapshot::Open(options.directory));
  PagerService::Options service;
  service.path = options.socket;
  service.snapshot = ToHex(snapshot.manifest_digest());
  if (options.use_working_set) {
    service.working_set = TRY(WithContext(snapshot.ReadWorkingSet(), options.directory));
  }
  service.report = [&log](const Error& error) { log.Write(LogLevel::kWarning, error.message()); };
  std::unique_ptr<MemoryImage> image = snapshot.TakeMemory();
  service.image_bytes = image->bytes();
  auto source =
      TRY(WithContext(SourceOf(std::move(image), snapshot.manifest_digest(), options.unverified),
                      options.directory));
  if (options.fd >= 0) {
    static_cast<void>(::signal(SIGPIPE, SIG_IGN));  // There is such a signal.
    TRY(PagerService::ServeOne(UniqueFd(options.fd), std::move(source), service));
    return 0;
  }
  const auto pager = TRY(PagerService::Create(std::move(source), std::move(service)));
  const auto signals = TRY(SignalWatcher::Create([&](int) { pager->Stop(); }));
  TRY(pager->Run());
  return ExitStatusOfSignal(signals->received());
}

}  // namespace

int RunPager(const PagerCommandOptions& options) {
  const Result<int> status = Serve(options);
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
