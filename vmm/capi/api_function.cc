// Images, functions and invocations.
#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/file.h"
#include "vmm/capi/arguments.h"
#include "vmm/capi/call.h"
#include "vmm/capi/entry.h"
#include "vmm/capi/function.h"
#include "vmm/capi/machine_object.h"
#include "vmm/capi/nets.h"
#include "vmm/function/initrd.h"
#include "vmm/function/kernel_bundle.h"
#include "vmm/machine/function_manifest.h"

namespace mayfly::capi {
namespace {

// Where the programs that go into guests are installed: as seen from this library, or from the
// program that it is linked into, if they were moved together.
std::string InstalledGuestDirectory() {
  Dl_info self{};
  if (::dladdr(reinterpret_cast<const void*>(&mayfly_function_boot), &self) != 0) {
    const std::string file = self.dli_fname;
    for (const char* from : {MAYFLY_GUEST_DIRECTORY_FROM_LIBRARY, "../libexec/mayfly"}) {
      const std::string directory = file.substr(0, file.rfind('/') + 1) + from;
      if (::access((directory + "/init").c_str(), R_OK) == 0) return directory;
    }
  }
  return MAYFLY_GUEST_DIRECTORY;
}

Result<std::vector<uint8_t>> InitrdOf(const mayfly_boot_options& options,
                                      const KernelBundle& kernel) {
  std::string directory = TRY(ReadText(options.guest_directory, "guest_directory"));
  if (directory.empty()) directory = InstalledGuestDirectory();
  return BuildInitrd({directory + "/init", directory + "/handler", kernel.modules});
}

Result<FunctionDescription> DescriptionOf(const mayfly_boot_options& options,
                                          const FunctionImage& image) {
  FunctionDescription description = image.description();
  if (options.memory_bytes != 0) {
    const uint64_t mebibytes = options.memory_bytes >> 20;
    if (options.memory_bytes % (1 << 20) != 0 || mebibytes < FunctionDescription::kLeastMemoryMib ||
        mebibytes > FunctionDescription::kMostMemoryMib) {
      return Fail(
          ErrorCode::kInvalidArgument,
          fmt::format("memory_bytes: expected whole MiB, {} to {} of them",
                      FunctionDescription::kLeastMemoryMib, FunctionDescription::kMostMemoryMib));
    }
    description.memory_mib = static_cast<uint32_t>(mebibytes);
  }
  if (options.vcpus != 0) description.vcpus = options.vcpus;
  if (options.timeout_ms > FunctionDescription::kMostTimeoutMs) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("timeout_ms: {} are the most", FunctionDescription::kMostTimeoutMs));
  }
  if (options.timeout_ms != 0) description.timeout_ms = options.timeout_ms;
  return description;
}

Status Boot(const Image& image, const mayfly_boot_options* options, mayfly_function** out) {
  TRY(CheckOut(out));
  mayfly_boot_options given{};
  TRY(ReadOptions(options, &given));
  Nets nets = TRY(ReadNets(given.nets, given.net_count, given.net_settings));
  const std::vector<std::string> taps = TapsOf(nets);
  std::string path = TRY(ReadText(given.kernel, "kernel"));
  if (path.empty()) path = TRY(FindDefaultKernel());
  const KernelBundle kernel = TRY(ResolveKernel(path));

  FunctionMachineConfig config;
  config.description = TRY(DescriptionOf(given, image.image()));
  config.image_name = image.image().path();
  config.image = TRY(image.image().fd().Duplicate());
  config.kernel = kernel.kernel;
  config.initrd = TRY(InitrdOf(given, kernel));
  config.nets = std::move(nets.configs);
  config.addresses = std::move(nets.addresses);
  config.snapshot = given.snapshot != 0;

  Function::Parts parts;
  parts.name = config.description.name;
  parts.timeout_ms = config.description.timeout_ms;
  parts.console = TRY(DuplicateOrNone(given.console_fd == 0 ? -1 : given.console_fd));
  config.console_output = parts.console.get();
  if (config.snapshot) parts.manifest = TRY(ManifestOfFunction(image.image(), taps));
  Library& library = image.library();
  if (given.verify != 0) {
    parts.verifier = std::make_unique<ImageVerifier>(TRY(image.image().Duplicate()));
  }
  parts.machine = TRY(FunctionMachine::Boot(
      std::move(config), LogCallbackOf(&library, {given.log, given.user}), &library));
  parts.ready = false;
  auto function = std::make_unique<Function>(&library, std::move(parts));
  if (given.start_only == 0) TRY(function->GetReady());
  return Publish(library, std::move(function), out);
}

Check CheckEvent(const void* event, size_t size) {
  if (event == nullptr && size > 0)
    return FailWith(MAYFLY_E_INVALID, "a null pointer for the event");
  return {};
}

std::span<const uint8_t> BytesAt(const void* bytes, size_t size) {
  return {static_cast<const uint8_t*>(bytes), size};
}

std::expected<const MetricsRegistry*, Failure> MetricsOf(const Function& function) {
  if (function.metrics() != nullptr) return function.metrics();
  return FailWith(MAYFLY_E_UNSUPPORTED, "metrics: not of a jailed clone");
}

}  // namespace
}  // namespace mayfly::capi

using namespace mayfly;
using namespace mayfly::capi;

int mayfly_image_open(mayfly_instance* lib, const char* path, mayfly_image** out) {
  return Enter<Library>(lib, [&](Library& library) -> Status {
    TRY(CheckOut(out));
    const std::string name = TRY(ReadPath(path, "path"));
    FunctionImage image = TRY(FunctionImage::Open(name));
    return Publish(library, std::make_unique<Image>(&library, std::move(image)), out);
  });
}

int mayfly_image_info(mayfly_image* image, struct mayfly_function_info* info) {
  return Enter<Image>(image, [&](const Image& self) {
    return WriteInfo(InfoOf(self.image().description()), info);
  });
}

int mayfly_image_verify(mayfly_image* image) {
  return Enter<Image>(image, [](const Image& self) -> Status {
    TRY(self.image().Verify());
    return 0;
  });
}

int mayfly_image_close(mayfly_image* image) { return CloseHandle<Image>(image); }

int mayfly_function_boot(mayfly_image* image, const struct mayfly_boot_options* options,
                         mayfly_function** out) {
  return Enter<Image>(image, [&](const Image& self) { return Boot(self, options, out); });
}

int mayfly_function_ready(mayfly_function* function) {
  return Enter<Function>(function, [](Function& self) -> Status {
    const Function::Turn turn = TRY(self.TakeTurn());
    return self.GetReady();
  });
}

int mayfly_function_times(mayfly_function* function, struct mayfly_times* times) {
  return Enter<Function>(function, [&](const Function& self) { return self.Times(times); });
}

int mayfly_function_saved(mayfly_function* function, struct mayfly_saved* saved) {
  return Enter<Function>(function, [&](const Function& self) { return self.Saved(saved); });
}

int mayfly_function_snapshot(mayfly_function* function, const char* path) {
  return Enter<Function>(function, [&](Function& self) -> Status {
    const std::string directory = TRY(ReadPath(path, "path"));
    const Function::Turn turn = TRY(self.TakeTurn());
    return self.Snapshot(directory);
  });
}

int mayfly_function_record(mayfly_function* function, const char* path) {
  return Enter<Function>(function, [&](Function& self) -> Status {
    const std::string directory = TRY(ReadPath(path, "path"));
    const Function::Turn turn = TRY(self.TakeTurn());
    return self.Record(directory);
  });
}

int mayfly_function_stop(mayfly_function* function) {
  return Enter<Function>(function, [](Function& self) -> Status {
    const Function::Turn turn = TRY(self.TakeTurn());
    self.Stop();
    return 0;
  });
}

int mayfly_function_interrupt(mayfly_function* function) {
  return Enter<Function>(function, From::kAnywhere, [](Function& self) -> Status {
    self.Interrupt();
    return 0;
  });
}

int mayfly_function_end(mayfly_function* function, struct mayfly_end* end) {
  return Enter<Function>(function, [&](const Function& self) { return WriteEnd(self.end(), end); });
}

int mayfly_function_metrics(mayfly_function* function, void* buffer, size_t* size) {
  return Enter<Function>(function, [&](const Function& self) -> Status {
    const MetricsRegistry* const metrics = TRY(MetricsOf(self));
    return CopyOut(AsBytes(metrics->Json()), buffer, size);
  });
}

int mayfly_function_metrics_text(mayfly_function* function, void* buffer, size_t* size) {
  return Enter<Function>(function, [&](const Function& self) -> Status {
    const MetricsRegistry* const metrics = TRY(MetricsOf(self));
    return CopyOut(AsBytes(metrics->Prometheus()), buffer, size);
  });
}

int mayfly_function_close(mayfly_function* function) { return CloseHandle<Function>(function); }

int mayfly_invoke(mayfly_function* function, const void* event, size_t event_size,
                  const struct mayfly_invoke_options* options, void* answer, size_t* answer_size) {
  return Enter<Function>(function, [&](Function& self) -> Status {
    TRY(CheckEvent(event, event_size));
    const Function::Turn turn = TRY(self.TakeTurn());
    const InvocationRequest request = TRY(self.Prepare(event_size, options));
    return Deliver(self.Invoke(BytesAt(event, event_size), request), answer, answer_size);
  });
}

int mayfly_answer(mayfly_function* function, void* buffer, size_t* size) {
  return Enter<Function>(
      function, [&](const Function& self) { return CopyOut(self.answer(), buffer, size); });
}

int mayfly_last_invocation(mayfly_function* function, struct mayfly_invocation* invocation) {
  return Enter<Function>(function,
                         [&](const Function& self) { return self.LastInvocation(invocation); });
}

int mayfly_invoke_start(mayfly_function* function, const void* event, size_t event_size,
                        const struct mayfly_invoke_options* options, mayfly_call** out) {
  return Enter<Function>(function, [&](Function& self) -> Status {
    TRY(CheckOut(out));
    TRY(CheckEvent(event, event_size));
    Function::Turn turn = TRY(self.TakeTurn());
    InvocationRequest request = TRY(self.Prepare(event_size, options));
    const auto bytes = BytesAt(event, event_size);
    auto call = TRY(Call::Start(&self, HandlePin::Take(function, Kind::kFunction), std::move(turn),
                                {bytes.begin(), bytes.end()}, std::move(request)));
    return Publish(self.library(), std::move(call), out);
  });
}

int mayfly_call_fd(mayfly_call* call) {
  return Enter<Call>(call, From::kAnywhere, [](const Call& self) -> Status { return self.fd(); });
}

int mayfly_call_wait(mayfly_call* call, int timeout_ms) {
  return Enter<Call>(call, [&](const Call& self) { return self.Wait(timeout_ms); });
}

int mayfly_call_result(mayfly_call* call, void* answer, size_t* answer_size) {
  return Enter<Call>(call, [&](const Call& self) { return self.Fetch(answer, answer_size); });
}

int mayfly_call_cancel(mayfly_call* call) {
  return Enter<Call>(call, From::kAnywhere, [](Call& self) -> Status {
    self.Cancel();
    return 0;
  });
}

int mayfly_call_close(mayfly_call* call) { return CloseHandle<Call>(call); }
