#include "vmm/function/image_verifier.h"

namespace mayfly {

ImageVerifier::ImageVerifier(FunctionImage image, std::function<void()> on_start)
    : image_(std::move(image)) {
  thread_ = Thread("verify", [this, on_start = std::move(on_start)] {
    if (on_start) on_start();
    result_ = image_.Verify(stop_.get_token());
  });
}

ImageVerifier::~ImageVerifier() {
  Cancel();
  thread_.Join();
}

Result<void> ImageVerifier::Wait() {
  thread_.Join();
  return *result_;
}

}  // namespace mayfly
