#pragma once

#include <memory>

#include "snapshot/fault_server.h"
#include "snapshot/pager.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// The pager that is a thread of the machine's own process.
class LocalPager final : public Pager {
 public:
  // From now on every page of `memory` that is not there comes from `source`, when anybody touches
  // it. Mode::kMinor for memory that is a mapping of a memfd, and PresentPages.
  static Result<std::unique_ptr<LocalPager>> Create(GuestMemory* memory, Userfaultfd::Mode mode,
                                                    std::unique_ptr<PageSource> source,
                                                    const FaultServerOptions& options);

  // As FaultServer.
  Result<void> PushAhead(const WorkingSet& set) { return server_->PushAhead(set); }
  [[nodiscard]] WorkingSet TakeRecord() override { return server_->TakeRecord(); }
  [[nodiscard]] uint64_t fault_count() const override { return server_->fault_count(); }

 private:
  explicit LocalPager(std::unique_ptr<PageSource> source) : source_(std::move(source)) {}
  void Refuse(const Userfaultfd& uffd, const Error& error, uint64_t address);

  const std::unique_ptr<PageSource> source_;
  std::unique_ptr<FaultServer> server_;
};

}  // namespace mayfly
