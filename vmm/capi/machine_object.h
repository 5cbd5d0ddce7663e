#pragma once

#include <atomic>
#include <memory>

#include "base/event_fd.h"
#include "vmm/capi/library.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_config.h"
#include "vmm/machine/machine_restore.h"

namespace mayfly::capi {

// What a machine is restored from.
struct MachineSource {
  std::string directory;
  MachineRestore::Options options{};
};

// A machine behind a handle: a configuration, and after Boot() what was made of it. Any thread.
class MachineObject final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kMachine;

  static Result<std::unique_ptr<MachineObject>> Create(Library* library);

  // Runs `body(MachineConfig&)` before the boot, one at a time.
  template <class Body>
  Status Configure(Body body) {
    const Claim claim(&busy_);
    if (!claim.held()) return Busy();
    if (taken_) return FailWith(MAYFLY_E_STATE, "the machine was booted, or its boot failed");
    return body(config_);
  }
  // The same for what a snapshot says of its machine.
  template <class Body>
  Status ConfigureKernel(Body body) {
    return Configure([&](MachineConfig& config) -> Status {
      if (source_) return FailWith(MAYFLY_E_STATE, "not with a snapshot, which says it");
      Status done = body(config);
      for_kernel_ = for_kernel_ || done;
      return done;
    });
  }
  Status SetSnapshot(MachineSource source);
  Status SetVsock(uint32_t guest_cid, const char* path);
  Status SetConsole(int input, int output);
  Status Boot();

  // Runs `body(Machine&)` after the boot, one at a time.
  template <class Body>
  Status Operate(Body body) {
    const Claim claim(&busy_);
    if (!claim.held()) return Busy();
    return Observe(std::move(body));
  }
  // The same beside others, for what a Machine lets everybody do.
  template <class Body>
  Status Observe(Body body) const {
    Machine* const made = machine();
    if (made == nullptr) return FailWith(MAYFLY_E_STATE, "the machine was not booted yet");
    return body(*made);
  }
  Status Pause();
  Status Resume();
  // Writes a snapshot into the new directory `path`.
  Status Snapshot(const std::string& path);
  Status SetBalloon(uint64_t bytes);
  Status Wait(int timeout_ms) const;

  void Interrupt() override { closing_.Signal(); }

 private:
  // For as long as it lives, others are busy.
  class Claim {
   public:
    explicit Claim(std::atomic_flag* flag)
        : flag_(flag->test_and_set(std::memory_order_acquire) ? nullptr : flag) {}
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    ~Claim() {
      if (held()) flag_->clear(std::memory_order_release);
    }
    [[nodiscard]] bool held() const { return flag_ != nullptr; }

   private:
    std::atomic_flag* const flag_;
  };

  MachineObject(Library* library, EventFd closing)
      : ApiObject(library), closing_(std::move(closing)) {}

  Result<std::unique_ptr<Machine>> Make();
  Result<std::unique_ptr<Machine>> Restore();

  static Status Busy() { return FailWith(MAYFLY_E_BUSY, "another call is under way"); }
  [[nodiscard]] Machine* machine() const { return booted_.load(std::memory_order_acquire); }

  const EventFd closing_;
  std::atomic_flag busy_;
  // The holder of busy_ has these.
  MachineConfig config_;
  std::optional<MachineSource> source_;
  bool for_kernel_ = false;  // Something was set that a snapshot would say.
  bool taken_ = false;       // Descriptors in the configuration are a machine's now.
  bool paused_ = false;      // By the caller.
  Result<Manifest> manifest_{};
  UniqueFd console_input_;
  UniqueFd console_output_;

  std::unique_ptr<Machine> machine_;
  std::atomic<Machine*> booted_{nullptr};
};

// What the API says of a machine's end.
Status WriteEnd(const std::optional<MachineEnd>& end, mayfly_end* out);

}  // namespace mayfly::capi
