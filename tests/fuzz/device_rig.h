#pragma once

#include <memory>
#include <utility>

#include "base/event_loop.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fakes/loop.h"
#include "tests/fuzz/hostile_driver.h"

namespace mayfly {

// One device behind a transport with a hostile driver, made anew for each execution.
class DeviceRig {
 public:
  DeviceRig(std::unique_ptr<VirtioDevice> device, KickMode mode)
      : queues_(device->queue_sizes().size()),
        transport_(*MmioTransport::Create({.name = "fuzz",
                                           .device = std::move(device),
                                           .memory = memory_.memory(),
                                           .interrupt = &line_,
                                           .loop = &SharedLoop(),
                                           .kick_mode = mode})),
        driver_(&memory_, transport_.get(), queues_) {}

  // One loop for all executions, because to make one costs as much as a fifth of them. A device
  // that leaves something behind in it shows in a later one.
  static EventLoop& SharedLoop() {
    static const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
    return *loop;
  }

  // Runs what waits in the loop: kicks in KickMode::kLoop, what a device put off, host descriptors.
  void RunLoop() {
    driver_.BeforeDevice();
    RunReady(&SharedLoop());
    driver_.AfterDevice();
  }

  HostileDriver& driver() { return driver_; }
  MmioTransport& transport() { return *transport_; }

 private:
  FuzzMemory& memory_ = FuzzMemory::Instance();
  FakeInterruptLine line_;
  const size_t queues_;
  std::unique_ptr<MmioTransport> transport_;
  HostileDriver driver_;
};

}  // namespace mayfly
