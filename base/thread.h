#pragma once

#include <functional>
#include <string>
#include <thread>

namespace mayfly {

// A named thread that is joined by its destructor. What it runs must have been told to end before
// the owner lets go of it.
class Thread {
 public:
  Thread() = default;
  // `name` is cut to 15 characters (prctl(PR_SET_NAME)). All signals but those of a thread's own
  // faults are blocked in it: they belong to the main thread.
  Thread(std::string name, std::function<void()> body);
  Thread(Thread&&) noexcept = default;
  Thread& operator=(Thread&& other) noexcept;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() { Join(); }

  void Join();
  [[nodiscard]] pthread_t native_handle() { return thread_.native_handle(); }

 private:
  std::thread thread_;
};

}  // namespace mayfly
