#pragma once

#include <functional>
#include <optional>
#include <stop_token>

#include "base/thread.h"
#include "vmm/function/image.h"

namespace mayfly {

// Compares an image's digest on a thread of its own, while a guest boots that has no use for the
// image yet. The guest must not be told to load it before Wait() has said that it is right.
class ImageVerifier {
 public:
  // `on_start`, if there is one, is called first in the thread.
  explicit ImageVerifier(FunctionImage image, std::function<void()> on_start = {});
  ImageVerifier(const ImageVerifier&) = delete;
  ImageVerifier& operator=(const ImageVerifier&) = delete;
  // Cancels it, and waits for the thread.
  ~ImageVerifier();

  // What FunctionImage::Verify() said, or kCancelled. By one thread.
  Result<void> Wait();
  // Makes Wait() return soon. Any thread.
  void Cancel() { stop_.request_stop(); }

 private:
  const FunctionImage image_;
  std::stop_source stop_;
  std::optional<Result<void>> result_;  // The thread's until it is joined.
  Thread thread_;
};

}  // namespace mayfly
