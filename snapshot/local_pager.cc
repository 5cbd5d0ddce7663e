#include "snapshot/local_pager.h"

namespace mayfly {

Result<std::unique_ptr<LocalPager>> LocalPager::Create(GuestMemory* memory, Userfaultfd::Mode mode,
                                                       std::unique_ptr<PageSource> source,
                                                       const FaultServerOptions& options) {
  Userfaultfd uffd = TRY(Userfaultfd::Create(mode, options.userfaultfd));
  PagedRegions regions = PagedRegions::Of(*memory);
  for (const PagedRegion& region : regions.regions()) {
    TRY(uffd.Register(region.host, region.size));
  }
  memory->SetFilledOnTouch();
  std::unique_ptr<LocalPager> pager(new LocalPager(std::move(source)));
  LocalPager* const self = pager.get();
  pager->server_ = TRY(
      FaultServer::Create({std::move(uffd), std::move(regions), self->source_.get(),
                           [self](const Userfaultfd& descriptor, const Error& error,
                                  uint64_t address) { self->Refuse(descriptor, error, address); }},
                          options));
  return pager;
}

void LocalPager::Refuse(const Userfaultfd& uffd, const Error& error, uint64_t address) {
  SetFailed(error);
  if (address == 0) return;
  // Nothing may be there instead of the page. What fails below leaves a thread waiting; the
  // machine's end is under way already.
  IgnoreFailure(ForbidMemory(address, GuestMemory::kPageSize));
  IgnoreFailure(uffd.Wake(address, GuestMemory::kPageSize));
}

}  // namespace mayfly
