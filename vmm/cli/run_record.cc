#include "vmm/cli/run_record.h"

#include <fmt/format.h>

#include "base/log.h"
#include "vmm/cli/clone_function.h"
#include "vmm/cli/driven_machine.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"

namespace mayfly {
namespace {

class RecordRun {
 public:
  explicit RecordRun(const RecordOptions& options) : options_(options) {}

  Result<int> Run() {
    for (uint32_t i = 0; i < options_.runs; ++i) {
      const int status = TRY(RecordOne());
      if (status != 0) return status;
    }
    WorkingSet before;
    if (options_.add) before = TRY(Recorded()).value_or(WorkingSet{});
    const WorkingSet set = WorkingSet::Common(records_, before);
    TRY(WriteWorkingSet(options_.restore.directory, set));
    return PrintText(fmt::format("{}: {} pages in {} runs\n", options_.restore.directory,
                                 set.pages(), set.runs.size()));
  }

 private:
  Result<int> RecordOne() {
    FunctionDriver driver(options_.restore.invoke);
    const FunctionClone clone = TRY(CloneFunction(options_.restore, driver.log(), &log_));
    const auto signals =
        TRY(SignalWatcher::Create([&](int) { clone.machine->Interrupt("interrupted by a signal"); },
                                  SignalWatcher::Callback()));
    DrivenMachine driven(clone.machine.get(), clone.name, clone.timeout_ms);
    const int status = driver.InvokeAll(driven);
    records_.push_back(clone.machine->pager()->TakeRecord());
    clone.machine->Stop();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return status;
  }

  [[nodiscard]] Result<std::optional<WorkingSet>> Recorded() const {
    const Snapshot snapshot = TRY(Snapshot::Open(options_.restore.directory));
    return snapshot.ReadWorkingSet();
  }

  const RecordOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  std::vector<WorkingSet> records_;
};

}  // namespace

int RunRecord(const RecordOptions& options) {
  const Result<int> status = RecordRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
