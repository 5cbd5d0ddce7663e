#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace mayfly {

// A program that runs beside the test, and is killed when the test lets go of it.
class ChildProcess {
 public:
  explicit ChildProcess(const std::vector<std::string>& command);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  void Signal(int signal) const;
  // Waits for its end: the exit status, or 128 and the signal's number.
  int Wait();

 private:
  pid_t pid_;
};

}  // namespace mayfly
