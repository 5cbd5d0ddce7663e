#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/capi/library.h"
#include "vmm/function/image.h"
#include "vmm/function/image_verifier.h"
#include "vmm/machine/function_machine.h"
#include "vmm/machine/function_template.h"
#include "vmm/zygote/jailed_function.h"

namespace mayfly::capi {

// The caller's callback for what a handler prints.
struct HandlerLog {
  mayfly_handler_log* log;
  void* user;
};

// As FunctionSession wants it; empty if there is no callback.
FunctionSession::LogCallback LogCallbackOf(const Library* library, const HandlerLog& log);

// What came of an invocation.
struct Outcome {
  Status status = 0;
  std::vector<uint8_t> answer{};  // Or the handler's error document.
};

// The outcome's answer in a caller's buffer, if there is one, and its status.
Status Deliver(const Outcome& outcome, void* buffer, size_t* size);

// An invocation as the API's options have it.
struct InvocationRequest {
  Invocation invocation;
  void (*answer)(void*, const void*, size_t) = nullptr;
  void* user = nullptr;
};

// A machine with a function in it, behind a handle. Any thread; what needs the machine for itself
// takes a turn first.
class Function final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kFunction;

  // What it was restored from, and how it differs from that: for a snapshot over it.
  struct Layer {
    std::shared_ptr<const FunctionTemplate> parent;  // Keeps its directory from being removed.
    std::string path;                                // The parent's, absolute.
    std::string image;                               // The function's, absolute.
    std::vector<std::string> taps;
  };

  struct Parts {
    std::string name;
    uint32_t timeout_ms = 0;
    UniqueFd console{};  // What the machine's console writes to.
    // If it is there to be snapshotted: one of them.
    std::optional<Manifest> manifest{};
    std::optional<Layer> layer{};
    bool ready = true;                          // Nothing is left for GetReady() to wait for.
    std::unique_ptr<ImageVerifier> verifier{};  // What it waits for first; may be null.
    // One of them: in this process, or in another one's jail. Last: they use the console.
    std::unique_ptr<FunctionMachine> machine{};
    std::unique_ptr<JailedFunction> jailed{};
  };

  Function(Library* library, Parts parts)
      : ApiObject(library), parts_(std::move(parts)), ready_(parts_.ready) {}

  // What only one call at a time has; kBusy to the others.
  class Turn {
   public:
    Turn(Turn&& other) noexcept : function_(std::exchange(other.function_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (function_ != nullptr) function_->busy_.clear(std::memory_order_release);
    }

   private:
    friend class Function;
    explicit Turn(Function* function) : function_(function) {}
    Function* function_;
  };
  std::expected<Turn, Failure> TakeTurn();

  // In a turn: checks what the caller wants. E_STATE if the function takes no more events.
  std::expected<InvocationRequest, Failure> Prepare(size_t event_size,
                                                    const mayfly_invoke_options* options);
  // Runs it, in a turn, and hands the answer to the callback, if there is one.
  Outcome Invoke(std::span<const uint8_t> event, const InvocationRequest& request);
  // In a turn: waits for the handler.
  Status GetReady();
  // In a turn, once.
  Status Snapshot(const std::string& path);
  Status Record(const std::string& path) const;
  // In a turn.
  void Stop();

  [[nodiscard]] std::vector<uint8_t> answer() const;
  [[nodiscard]] Status Saved(mayfly_saved* out) const;
  [[nodiscard]] Status LastInvocation(mayfly_invocation* out) const;
  [[nodiscard]] Status Times(mayfly_times* out) const;
  [[nodiscard]] std::optional<MachineEnd> end() const;
  // Null of a jailed one.
  [[nodiscard]] const MetricsRegistry* metrics() const;

  void Interrupt() override;

 private:
  Outcome OutcomeOf(Result<InvocationResult> result);
  struct Save {
    SnapshotWriter writer;
    Manifest manifest;
  };
  // For a snapshot at `path`; whatever is wrong with that leaves the function as it was.
  [[nodiscard]] Result<Save> PrepareSave(const std::string& path) const;
  // For what failed: why, or that it was interrupted.
  Status FailureOf(const Error& error);

  Parts parts_;
  std::atomic_flag busy_;
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> finished_{false};  // Takes no more events.
  std::atomic<bool> ready_;
  std::atomic<uint64_t> count_{0};

  mutable Mutex mutex_;
  std::vector<uint8_t> answer_ GUARDED_BY(mutex_);
  std::optional<mayfly_invocation> last_ GUARDED_BY(mutex_);
  std::optional<mayfly_saved> saved_ GUARDED_BY(mutex_);
};

// An image behind a handle.
class Image final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kImage;

  Image(Library* library, FunctionImage image) : ApiObject(library), image_(std::move(image)) {}

  [[nodiscard]] const FunctionImage& image() const { return image_; }

 private:
  const FunctionImage image_;
};

// A description, as the API tells it.
mayfly_function_info InfoOf(const FunctionDescription& description);

}  // namespace mayfly::capi
