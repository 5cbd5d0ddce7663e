#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "base/result.h"
#include "devices/interrupt_line.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// 16 bytes that no other machine has.
using GenerationGuid = std::array<uint8_t, 16>;

struct GenerationIdState {
  GenerationGuid guid{};

  bool operator==(const GenerationIdState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("guid", &GenerationIdState::guid);
  }
};

// The machine's generation (Microsoft, "Virtual Machine Generation ID"): a GUID in guest memory
// that changes when the machine begins a second life from a snapshot, so that the guest makes new
// what must be unique, its random numbers first. The DSDT says where it is; the interrupt is the
// generic event device's, whose method notifies the guest. Any thread.
class GenerationId {
 public:
  struct Resources {
    const GuestMemory* memory;  // All borrowed.
    GuestAddress address;       // Of 16 bytes that the guest's memory map calls reserved.
    InterruptLine* interrupt;
  };

  // A GUID from the host's random number generator, version 4 of RFC 4122.
  static Result<GenerationGuid> NewGuid();

  // Writes the state's GUID into guest memory, without telling the guest. kInvalidArgument if the
  // address is not RAM or not aligned to 8 bytes.
  static Result<std::unique_ptr<GenerationId>> Create(const Resources& resources,
                                                      const GenerationIdState& state);
  GenerationId(const GenerationId&) = delete;
  GenerationId& operator=(const GenerationId&) = delete;

  // A new generation: writes `guid`, then tells the guest. With the vCPUs paused the guest has the
  // whole of it before its next instruction.
  void Set(const GenerationGuid& guid);

  [[nodiscard]] GenerationIdState Save() const;

 private:
  GenerationId(const Resources& resources, const GenerationGuid& guid)
      : resources_(resources), guid_(guid) {}

  const Resources resources_;
  mutable Mutex mutex_;
  GenerationGuid guid_ GUARDED_BY(mutex_);
};

}  // namespace mayfly
