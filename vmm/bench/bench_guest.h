#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "snapshot/verified_stamp.h"

namespace mayfly {

struct GuestTimes {
  std::chrono::steady_clock::duration first_instruction;
  std::chrono::steady_clock::duration working_set;
};

// Whoever waits for the marks of a bench's guest; the vCPU's thread notes when they come.
class GuestMarks {
 public:
  void Note(uint32_t mark);

  // Until the guest stands where it can be saved. kTimeout after a minute.
  Result<void> WaitReady();
  // Until its first instruction; the time from `start` to it.
  Result<std::chrono::steady_clock::duration> WaitBegun(
      std::chrono::steady_clock::time_point start);
  // Until the guest has touched all that it touches in a life; times from `start` on.
  Result<GuestTimes> WaitDone(std::chrono::steady_clock::time_point start);

 private:
  template <class Condition>
  Result<void> Wait(Condition condition);

  Mutex mutex_;
  ConditionVariable changed_;
  bool ready_ GUARDED_BY(mutex_) = false;
  std::optional<std::chrono::steady_clock::time_point> begun_ GUARDED_BY(mutex_);
  std::optional<std::chrono::steady_clock::time_point> done_ GUARDED_BY(mutex_);
};

struct BenchGuest {
  std::string path;  // Its ELF file.
  uint64_t memory_bytes;
  std::string command_line;
};

// Boots the guest, waits until it rings its doorbell, and saves it there into a new directory.
Result<void> SaveBenchGuest(const BenchGuest& guest, const std::string& directory,
                            const VerifiedStamps& stamps);

}  // namespace mayfly
