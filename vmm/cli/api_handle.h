#pragma once

#include <string>
#include <utility>

#include "base/log.h"
#include "base/result.h"
#include "vmm/include/mayfly.h"
#include "vmm/machine/machine_end.h"

namespace mayfly {

// A handle of the C API, closed by its destructor.
template <class T, int (*Close)(T*)>
class ApiHandle {
 public:
  ApiHandle() = default;
  ApiHandle(const ApiHandle&) = delete;
  ApiHandle& operator=(const ApiHandle&) = delete;
  ~ApiHandle() {
    if (handle_ != nullptr) Close(handle_);
  }

  // For the function that makes it.
  T** out() { return &handle_; }
  [[nodiscard]] T* get() const { return handle_; }

 private:
  T* handle_ = nullptr;
};

using ApiInstance = ApiHandle<mayfly_instance, mayfly_close>;
using ApiImage = ApiHandle<mayfly_image, mayfly_image_close>;
using ApiFunction = ApiHandle<mayfly_function, mayfly_function_close>;

// An instance whose log goes to `log`, borrowed, if there is one. `verified_directory` is as in
// mayfly_options; empty: none.
Result<void> OpenApi(const std::string& verified_directory, LogSink* log, ApiInstance* out);

// What a function of the C API has returned, as an error of ours: `handle` is what it was called
// on.
Result<void> CheckApi(int status, const void* handle);

// One of MAYFLY_END_*.
EndReason EndReasonOf(int reason);

}  // namespace mayfly
