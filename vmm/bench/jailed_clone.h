#pragma once

#include <memory>
#include <vector>

#include "vmm/bench/clone_source.h"
#include "vmm/zygote/zygote_process.h"

namespace mayfly {

// The bench's guest in jailed clones of a zygote's: with the same jail as a function's, but that
// the zygote is forked from the bench instead of being a program of its own. One thread.
class JailedClones {
 public:
  // Before this process has other threads. `source` is borrowed.
  static Result<std::unique_ptr<JailedClones>> Start(const CloneSource* source);

  // Microseconds from the call until the first instruction of a new clone, which is gone when this
  // returns. A clone is made ahead, as the zygote does when nothing else happens.
  Result<double> Measure();

 private:
  explicit JailedClones(std::unique_ptr<ZygoteProcess> zygote) : zygote_(std::move(zygote)) {}

  const std::unique_ptr<ZygoteProcess> zygote_;
};

}  // namespace mayfly
