#pragma once

#include <string>
#include <thread>

#include "base/result.h"
#include "tests/bench/measurement.h"

namespace mayfly {

// Makes a tap of this name in the calling thread's network namespace, and switches it on.
Result<void> AddTap(const std::string& name);

// What a plain program can write into the tap, a frame in each system call.
Result<Measurement> MeasureTapWrite(const std::string& tap, size_t frame, double seconds);
// What it can read from it, while another thread floods it.
Result<Measurement> MeasureTapRead(const std::string& tap, size_t frame, double seconds);

// Sends frames out of an interface as fast as they go, as long as it lives.
class Flood {
 public:
  Flood(const std::string& interface, size_t frame);

 private:
  std::jthread thread_;
};

}  // namespace mayfly
