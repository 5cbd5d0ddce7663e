// Instances, versions and errors: the first two groups of mayfly.h.
#include <algorithm>
#include <array>
#include <cstring>

#include "vmm/capi/arguments.h"
#include "vmm/capi/entry.h"
#include "vmm/kvm/kvm.h"

namespace mayfly::capi {
namespace {

constexpr std::array<std::string_view, 6> kFeatures{"snapshot", "shells", "map",
                                                    "uffd",     "eager",  "zygote"};

Status Open(const mayfly_options* options, mayfly_instance** out) {
  TRY(CheckOut(out));
  mayfly_options given{};
  TRY(ReadOptions(options, &given));
  if (given.log_level < MAYFLY_LOG_ERROR || given.log_level > MAYFLY_LOG_DEBUG) {
    return FailWith(MAYFLY_E_INVALID, "log_level");
  }
  Library::Options made;
  made.log = given.log;
  made.user = given.user;
  made.log_level = static_cast<LogLevel>(given.log_level);
  const std::string directory = TRY(ReadText(given.verified_directory, "verified_directory"));
  if (!directory.empty()) made.stamps = TRY(VerifiedStamps::Open(directory));
  auto library = std::make_unique<Library>(std::move(made));
  // Its table holds it: it is destroyed by mayfly_close().
  Library& self = *library;
  return Publish(self, std::move(library), out);
}

}  // namespace
}  // namespace mayfly::capi

using namespace mayfly;
using namespace mayfly::capi;

const char* mayfly_version(void) { return MAYFLY_VERSION; }

int mayfly_api_version(void) { return MAYFLY_API_VERSION; }

int mayfly_feature(const char* name) {
  if (name == nullptr) return 0;
  return std::ranges::any_of(kFeatures, [name](auto feature) { return feature == name; }) ? 1 : 0;
}

const char* mayfly_strerror(int code) {
  switch (code) {
    case MAYFLY_OK:
      return "no error";
    case MAYFLY_E_NOT_FOUND:
      return "not found";
    case MAYFLY_E_HOST:
      return "a system call failed";
    case MAYFLY_E_HANDLE:
      return "not an open handle of this kind";
    case MAYFLY_E_AGAIN:
      return "not yet";
    case MAYFLY_E_NO_MEMORY:
      return "out of memory";
    case MAYFLY_E_PERMISSION:
      return "permission denied";
    case MAYFLY_E_BUSY:
      return "busy";
    case MAYFLY_E_INVALID:
      return "invalid argument";
    case MAYFLY_E_TOO_LARGE:
      return "too large";
    case MAYFLY_E_GUEST:
      return "the guest ended, or broke its protocol";
    case MAYFLY_E_THREAD:
      return "not in a callback";
    case MAYFLY_E_CORRUPT:
      return "a damaged file";
    case MAYFLY_E_STATE:
      return "not in this state";
    case MAYFLY_E_UNSUPPORTED:
      return "not supported";
    case MAYFLY_E_BUFFER:
      return "the buffer is too small";
    case MAYFLY_E_TIMEOUT:
      return "not in time";
    case MAYFLY_E_HANDLER:
      return "the handler failed";
    case MAYFLY_E_CANCELLED:
      return "cancelled";
    default:
      return "unknown error";
  }
}

int mayfly_error(const void* handle, char* buffer, size_t size) {
  return WithoutExceptions([&]() -> int {
    const HandlePin pin = HandlePin::Take(handle, Kind::kAny);
    if (!pin) return MAYFLY_E_HANDLE;
    const std::string text = static_cast<ApiObject*>(pin.object())->errors().Get();
    if (buffer != nullptr && size > 0) CopyText(text, {buffer, size});
    return static_cast<int>(text.size());
  });
}

int mayfly_open(const struct mayfly_options* options, mayfly_instance** out) {
  return WithoutExceptions([&]() -> int {
    const Status status = Open(options, out);
    return status ? *status : status.error().code;
  });
}

int mayfly_close(mayfly_instance* lib) {
  return WithoutExceptions([&]() -> int {
    {
      const HandlePin pin = HandlePin::Take(lib, Kind::kLibrary);
      if (!pin) return MAYFLY_E_HANDLE;
      if (static_cast<Library*>(pin.object())->InCallback()) return MAYFLY_E_THREAD;
    }
    bool busy = false;
    const std::unique_ptr<Object> library = HandleTable::CloseLast(lib, Kind::kLibrary, &busy);
    if (library) return MAYFLY_OK;
    return busy ? MAYFLY_E_BUSY : MAYFLY_E_HANDLE;
  });
}

int mayfly_check_host(mayfly_instance* lib) {
  return Enter<Library>(lib, [](Library&) -> Status {
    const Kvm kvm = TRY(Kvm::Open());
    const Vm vm = TRY(kvm.CreateVm());
    return 0;
  });
}
