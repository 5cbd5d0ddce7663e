#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/restore_page.h"
#include "devices/bus.h"
#include "devices/identity/generation_id.h"
#include "devices/legacy/acpi_pm.h"
#include "devices/legacy/doorbell.h"
#include "devices/legacy/i8042_reset.h"
#include "devices/legacy/ioapic.h"
#include "devices/legacy/serial.h"
#include "devices/legacy/serial_output.h"
#include "devices/metrics.h"
#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/vsock/host_sockets.h"
#include "devices/virtio/vsock/vsock.h"
#include "snapshot/machine_state.h"
#include "snapshot/pager.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/ioapic_routes.h"
#include "vmm/machine/irqfd_line.h"
#include "vmm/machine/machine_config.h"
#include "vmm/machine/machine_end.h"
#include "vmm/machine/machine_threads.h"
#include "vmm/machine/power_events.h"
#include "vmm/machine/serial_input.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// One microVM: KVM's machine, guest memory, devices, and the threads that run them. Made by
// MachineBuilder. Any thread may call it, one at a time. Nothing is shared between machines.
class Machine {
 public:
  // What the machine is made of, in the order in which it has to exist; the destructor takes it
  // down in the opposite one.
  struct Parts {
    std::unique_ptr<GuestMemory> memory;
    std::unique_ptr<EndLatch> end;
    std::unique_ptr<Pager> pager;  // Null unless one fills the memory.
    std::unique_ptr<Vm> vm;
    std::unique_ptr<PowerEventsToLatch> power;
    std::unique_ptr<EventLoop> loop;
    std::vector<std::unique_ptr<IrqfdLine>> lines;
    std::unique_ptr<IoapicRoutes> routes;
    std::unique_ptr<Ioapic> ioapic;
    std::unique_ptr<AcpiPm> acpi_pm;
    std::unique_ptr<I8042Reset> i8042;
    std::unique_ptr<Doorbell> doorbell;
    std::unique_ptr<SerialOutput> serial_output;
    std::unique_ptr<Serial> serial;
    std::unique_ptr<SerialInput> serial_input;
    std::unique_ptr<GenerationId> generation;
    std::unique_ptr<HostSockets> host_sockets;
    std::vector<std::unique_ptr<MmioTransport>> transports;
    // Borrowed from their transports; null if there is none.
    std::vector<BlkDevice*> disks;
    std::vector<NetDevice*> nets;
    VsockDevice* vsock = nullptr;
    BalloonDevice* balloon = nullptr;
    MetricsRegistry metrics;  // Borrows from the devices above.
    std::unique_ptr<Bus> pio;
    std::unique_ptr<Bus> mmio;
    std::vector<Vcpu> vcpus;
    std::vector<uint32_t> msr_indices;  // Kvm::MsrIndices()
    ThreadHooks hooks{};
    // If they were started ahead, with the vCPUs in them; else the machine starts them. Last: they
    // are gone before anything that they use.
    std::unique_ptr<MachineThreads> threads;
  };

  explicit Machine(Parts parts);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  // Stops it first.
  ~Machine();

  // Has `callback` called once with the machine's end, on the I/O thread or by Stop(). Before
  // Resume().
  void OnEnd(std::function<void(const MachineEnd&)> callback);

  // Lets the vCPUs run, at the start and after Pause().
  void Resume();
  // Returns when no vCPU is in the guest any more and no device has requests in flight.
  void Pause();
  // Has every vCPU leave the guest soon, without waiting for it: for callbacks on their threads.
  void RequestPause() const;
  // All of the machine but its memory, as it is while it is paused.
  Result<MachineState> Save() const;
  // Its memory; while the machine is paused, nobody else changes it.
  [[nodiscard]] const GuestMemory& memory() const { return *parts_.memory; }

  // Has `rung` called, on a vCPU's thread, when the guest says that it is ready for a snapshot. By
  // then every vCPU has been told to pause: Pause() waits for that. From now on the memory that the
  // guest says it does not need is given back, too. Before Resume().
  void OnDoorbell(std::function<void()> rung);
  // Has `marked` called, on a vCPU's thread, for each mark of the guest's. Before Resume().
  void OnMark(std::function<void(uint32_t)> marked) const {
    parts_.doorbell->OnMark(std::move(marked));
  }
  // Fills the restore page, which tells the guest that a new life has begun, with `page` and with
  // what time it is. While it is paused.
  Result<void> SetRestorePage(RestorePage page) const;

  // Ends the machine with EndReason::kStopped, unless it has ended already, and waits for its
  // threads. Idempotent.
  void Stop();

  // Plugs the cable of network device `index`, counted from 0, in or out. False if it has none.
  bool SetLink(size_t index, bool up);

  // Waits for the machine's end.
  MachineEnd Wait() const;
  // Waits for the machine's end, or for `other`, whichever comes first.
  MachineEnd WaitOr(const EndLatch& other) const;
  // Its end, if it has ended.
  [[nodiscard]] std::optional<MachineEnd> end() const { return parts_.end->Get(); }
  // Readable once the machine has ended; for poll(2).
  [[nodiscard]] int end_fd() const { return parts_.end->fd(); }

  // The guest is from now on another machine than the one it was: see GenerationId.
  void SetGeneration(const GenerationGuid& guid) const { parts_.generation->Set(guid); }

  // Its balloon, whose target can be set at any time; null if it has none.
  [[nodiscard]] BalloonDevice* balloon() const { return parts_.balloon; }

  // What fills its memory; null unless it was restored over one.
  [[nodiscard]] Pager* pager() const { return parts_.pager.get(); }

  // What its devices have counted so far (docs/metrics.md). Any thread, at any time.
  [[nodiscard]] const MetricsRegistry& metrics() const { return parts_.metrics; }

 private:
  void AnnounceEnd();

  Parts parts_;
  std::function<void(const MachineEnd&)> on_end_;
  std::atomic<bool> end_announced_{false};
};

}  // namespace mayfly
