#include "vmm/zygote/clone_filters.h"

#include <unistd.h>

#include "jailer/seccomp.h"

namespace mayfly {
namespace {

constexpr int kFailed = 3;

void Filter(ThreadKind kind) {
  if (!ApplyFilter(kind)) ::_exit(kFailed);
}

}  // namespace

ThreadHooks CloneHooks() {
  return {[] { Filter(ThreadKind::kVcpu); }, [] { Filter(ThreadKind::kIo); },
          [] { Filter(ThreadKind::kPager); }};
}

void LockDownClone() { Filter(ThreadKind::kSupervisor); }

}  // namespace mayfly
