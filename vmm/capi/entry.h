#pragma once

#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "vmm/capi/library.h"

namespace mayfly::capi {

// Runs what a function of the API does, and lets no exception out of it: the caller may not even
// know what one is.
template <class Body>
int WithoutExceptions(Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return MAYFLY_E_NO_MEMORY;
  } catch (...) {
    return MAYFLY_E_HOST;
  }
}

// Where a function may be called.
enum class From { kAnywhere, kOutsideCallbacks };

// The frame around a function of the API that is called on a handle of a T: holds the object while
// `body(T&)` runs, and keeps the text of its failure.
template <class T, class Body>
int Enter(const void* handle, From from, Body body) noexcept {
  return WithoutExceptions([&]() -> int {
    const HandlePin pin = HandlePin::Take(handle, T::kKind);
    if (!pin) return MAYFLY_E_HANDLE;
    T& object = *static_cast<T*>(pin.object());
    Status status = 0;
    if (from == From::kOutsideCallbacks && object.library().InCallback()) {
      status = FailWith(MAYFLY_E_THREAD, "not in a callback");
    } else {
      try {
        status = body(object);
      } catch (const std::system_error& failure) {
        // The C++ library throws when a thread cannot be started.
        status = FailWith(MAYFLY_E_HOST, failure.what());
      }
    }
    if (status) return *status;
    object.errors().Set(std::move(status.error().text));
    return status.error().code;
  });
}

template <class T, class Body>
int Enter(const void* handle, Body body) noexcept {
  return Enter<T>(handle, From::kOutsideCallbacks, std::move(body));
}

// Makes `*out` a handle of `object`.
template <class T, class CHandle>
Status Publish(Library& library, std::unique_ptr<T> object, CHandle** out) {
  void* const handle = library.handles().Add(T::kKind, std::move(object));
  if (handle == nullptr) return FailWith(MAYFLY_E_NO_MEMORY, "no memory for a handle");
  *out = static_cast<CHandle*>(handle);
  return 0;
}

// For functions that make a handle: it is null until it is one.
template <class CHandle>
Check CheckOut(CHandle** out) {
  if (out == nullptr) return FailWith(MAYFLY_E_INVALID, "a null pointer for the handle");
  *out = nullptr;
  return {};
}

// Closes a handle of a T.
template <class T>
int CloseHandle(const void* handle) noexcept {
  return WithoutExceptions([&]() -> int {
    {
      const HandlePin pin = HandlePin::Take(handle, T::kKind);
      if (!pin) return MAYFLY_E_HANDLE;
      // It would wait for itself.
      if (static_cast<T*>(pin.object())->library().InCallback()) return MAYFLY_E_THREAD;
    }
    return HandleTable::Close(handle, T::kKind) ? MAYFLY_OK : MAYFLY_E_HANDLE;
  });
}

}  // namespace mayfly::capi
