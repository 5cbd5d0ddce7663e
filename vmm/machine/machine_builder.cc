#include "vmm/machine/machine_builder.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include "base/file.h"
#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/open_backend.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/net/tap_backend.h"
#include "devices/virtio/rng/rng.h"
#include "devices/virtio/vsock/brokered_endpoint.h"
#include "devices/virtio/vsock/unix_endpoint.h"
#include "devices/virtio/vsock/vsock.h"
#include "vmm/boot/boot_info.h"
#include "vmm/boot/cpu_state.h"
#include "vmm/boot/cpuid.h"
#include "vmm/boot/layout.h"
#include "vmm/control/control_channel.h"
#include "vmm/machine/new_life.h"
#include "vmm/machine/shell.h"

namespace mayfly {
namespace {

// An initrd of a machine that has 3 GiB below the hole cannot be larger.
constexpr uint64_t kMostInitrdBytes = GuestMemory::kHoleStart;

AcpiPowerPorts PowerPorts() {
  return {static_cast<uint16_t>(layout::kAcpiPmPort + AcpiPm::kSleepControl),
          static_cast<uint16_t>(layout::kAcpiPmPort + AcpiPm::kSleepStatus),
          static_cast<uint16_t>(layout::kAcpiPmPort + AcpiPm::kReset), AcpiPm::kResetValue,
          AcpiPm::kSleepTypeS5};
}

// Locally administered, of one station.
Result<MacAddress> RandomMac() {
  MacAddress mac{};
  TRY(HostEntropy().Fill(mac));
  mac[0] = static_cast<uint8_t>((mac[0] & 0xfc) | 2);
  return mac;
}

Result<std::unique_ptr<HostEndpoint>> EndpointFor(VsockConfig* config) {
  if (!config->broker.valid()) return TRY(UnixEndpoint::Create(config->path));
  return std::make_unique<BrokeredEndpoint>(std::move(config->listener), std::move(config->broker));
}

}  // namespace

Result<std::unique_ptr<Machine>> MachineBuilder::Boot() && {
  return std::make_unique<Machine>(TRY(std::move(*this).Build()));
}

Result<Machine::Parts> MachineBuilder::Build() && {
  TRY(CheckConfig());
  const Kvm kvm = TRY(OpenKvm());
  parts_.memory = TRY(GuestMemory::Create(config_.memory_bytes));
  parts_.end = TRY(EndLatch::Create());
  TRY(CreateVm(kvm));
  TRY(AddLegacyDevices());
  TRY(AddVirtioDevices());
  const LoadedKernel kernel = TRY(LoadGuest());
  TRY(CreateVcpus(kvm, kernel));
  return std::move(parts_);
}

Result<std::unique_ptr<Machine>> MachineBuilder::Restore(MachineState state,
                                                         RestoredMemory memory) && {
  TRY(AdoptState(std::move(state)));
  TRY(CheckState(*memory.memory));
  const Kvm kvm = TRY(OpenKvm());
  parts_.memory = std::move(memory.memory);
  parts_.pager = std::move(memory.pager);
  parts_.end = TRY(EndLatch::Create());
  const Result<void> built = BuildRestored(kvm);
  if (parts_.pager) {
    // A page that could not be had explains more than what came of it.
    TRY(parts_.pager->Begin([end = parts_.end.get()](const Error& error) {
      end->Set({EndReason::kMemoryIntegrity, error.message()});
    }));
  }
  if (!built) return std::unexpected(built.error());
  return std::make_unique<Machine>(std::move(parts_));
}

Result<void> MachineBuilder::BuildRestored(const Kvm& kvm) {
  TRY(CreateVm(kvm));
  return FinishRestore();
}

Result<std::unique_ptr<Machine>> MachineBuilder::Restore(MachineState state,
                                                         std::unique_ptr<Shell> shell) && {
  TRY(AdoptState(std::move(state)));
  TRY(CheckState(shell->memory()));
  registers_set_ = Shell::SetsRegistersOf(*saved_);
  parts_ = TRY(std::move(*shell).TakeParts(*saved_));
  TRY(FinishRestore());
  return std::make_unique<Machine>(std::move(parts_));
}

Result<Machine::Parts> MachineBuilder::BuildShell(const MachineState& state) && {
  TRY(AdoptState(state));
  const Kvm kvm = TRY(OpenKvm());
  parts_.memory = TRY(GuestMemory::Create(state.memory_bytes));
  parts_.end = TRY(EndLatch::Create());
  TRY(CreateVm(kvm));
  // In the order in which the devices will ask for them.
  TRY(CreateLine(layout::kSerialGsi));
  TRY(CreateLine(layout::kGenerationGsi));
  for (uint32_t i = 0; i < state.virtio.size(); ++i) TRY(CreateLine(layout::kFirstVirtioGsi + i));
  for (const VcpuState& saved : state.vcpus) {
    Vcpu vcpu = TRY(parts_.vm->CreateVcpu(saved.id));
    TRY(WithContext(PrepareVcpu(vcpu, saved), fmt::format("vcpu {}", saved.id)));
    if (Shell::SetsRegistersOf(state)) {
      TRY(WithContext(RestoreRegisters(vcpu, saved), fmt::format("vcpu {}", saved.id)));
    }
    parts_.vcpus.push_back(std::move(vcpu));
  }
  parts_.threads = std::make_unique<MachineThreads>(
      parts_.loop.get(), parts_.end.get(), std::move(parts_.vcpus),
      VcpuThread::Resources{parts_.pio.get(), parts_.mmio.get(), parts_.memory.get(),
                            parts_.end.get(), parts_.hooks.vcpu},
      parts_.hooks.io);
  return std::move(parts_);
}

Result<void> MachineBuilder::AdoptState(MachineState state) {
  saved_ = std::move(state);
  config_.memory_bytes = saved_->memory_bytes;
  config_.vcpu_count = static_cast<uint32_t>(saved_->vcpus.size());
  return CheckConfig();
}

Result<void> MachineBuilder::FinishRestore() {
  TRY(AddLegacyDevices());
  TRY(AddVirtioDevices());
  TRY(RestoreVcpus());
  TRY(parts_.vm->SetClock(saved_->clock_ns));
  parts_.generation->Set(config_.generation ? *config_.generation : TRY(GenerationId::NewGuid()));
  return CheckRestorePage();
}

Result<void> MachineBuilder::CheckState(const GuestMemory& memory) const {
  if (memory.size() != saved_->memory_bytes) {
    return Fail(ErrorCode::kCorrupt, fmt::format("memory_bytes: the state has {}, the memory {}",
                                                 saved_->memory_bytes, memory.size()));
  }
  const size_t devices = CountVirtioDevices();
  if (devices != saved_->virtio.size()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("devices: the snapshot has {}, the configuration {}",
                            saved_->virtio.size(), devices));
  }
  for (uint32_t id = 0; id < saved_->vcpus.size(); ++id) {
    if (saved_->vcpus[id].id != id) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("vcpus[{}]: its id is {}", id, saved_->vcpus[id].id));
    }
  }
  return {};
}

// It is also what brings the page into memory while its lack is still an error of the restore.
Result<void> MachineBuilder::CheckRestorePage() const {
  // For writing at once: copying it after a read would interrupt the other processors. Where that
  // cannot be done, the read below tells why, or works.
  parts_.memory->Populate(layout::kRestorePage, GuestMemory::kPageSize, true);
  RestorePage page{};
  if (!parts_.memory->ReadValue(layout::kRestorePage, &page) || page.magic != RestorePage::kMagic) {
    return Fail(ErrorCode::kCorrupt, "memory: it has no restore page");
  }
  return {};
}

template <class State>
Result<State> MachineBuilder::TakeState(std::vector<State> MachineState::* kind, size_t index,
                                        std::string_view name) const {
  const std::vector<State>& states = (*saved_).*kind;
  if (index < states.size()) return states[index];
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: not in the snapshot", name));
}

Result<MmioState> MachineBuilder::TakeTransport(std::string_view name) const {
  if (!saved_) return MmioState{};
  const VirtioState& device = saved_->virtio[parts_.transports.size()];
  if (device.name == name) return device.transport;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("device {}: the snapshot has {}, the configuration {}",
                          parts_.transports.size(), device.name, name));
}

Result<void> MachineBuilder::CheckConfig() const {
  if (config_.vcpu_count < 1 || config_.vcpu_count > MachineConfig::kMostVcpus) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("vcpus: {}, but 1 to {} are possible", config_.vcpu_count,
                            MachineConfig::kMostVcpus));
  }
  if (config_.memory_bytes < MachineConfig::kLeastMemory) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("memory: {} MiB, but {} MiB are the least", config_.memory_bytes >> 20,
                            MachineConfig::kLeastMemory >> 20));
  }
  struct sysinfo host{};
  if (::sysinfo(&host) != 0) return FailErrno("sysinfo");
  const uint64_t host_bytes = uint64_t{host.totalram} * host.mem_unit;
  if (config_.memory_bytes > host_bytes) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("memory: {} MiB, but this host has {} MiB", config_.memory_bytes >> 20,
                            host_bytes >> 20));
  }
  const size_t devices = CountVirtioDevices();
  if (devices > layout::kMaxVirtioDevices) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("devices: {}, but {} are the most",
                                                         devices, layout::kMaxVirtioDevices));
  }
  return {};
}

size_t MachineBuilder::CountVirtioDevices() const {
  return config_.disks.size() + config_.nets.size() + (config_.vsock ? 1 : 0) +
         (config_.rng ? 1 : 0) + (config_.balloon ? 1 : 0);
}

Result<Kvm> MachineBuilder::OpenKvm() {
  return config_.kvm.valid() ? Kvm::Create(std::move(config_.kvm)) : Kvm::Open();
}

Result<void> MachineBuilder::CreateVm(const Kvm& kvm) {
  parts_.hooks = config_.threads;
  parts_.msr_indices = TRY(kvm.MsrIndices());
  parts_.vm = std::make_unique<Vm>(TRY(kvm.CreateVm()));
  // Slots before anything else: see Vm::SetMemoryRegion().
  uint32_t slot = 0;
  for (const MemoryRegion& region : parts_.memory->regions()) {
    TRY(parts_.vm->SetMemoryRegion(slot++, region));
  }
  TRY(parts_.vm->SetTssAddress(layout::kTss));
  TRY(parts_.vm->EnableSplitIrqchip(layout::kIoapicPins));
  parts_.memory->OnLost([end = parts_.end.get()](GuestAddress address) {
    end->Set({EndReason::kMemoryIntegrity,
              fmt::format("the page at {:#x} cannot be read or written", address.value)});
  });
  parts_.loop = TRY(EventLoop::Create());
  parts_.pio = std::make_unique<Bus>();
  parts_.mmio = std::make_unique<Bus>();
  return {};
}

Result<void> MachineBuilder::CreateLine(uint32_t gsi) {
  parts_.lines.push_back(TRY(IrqfdLine::Create(*parts_.vm, gsi)));
  return {};
}

Result<InterruptLine*> MachineBuilder::AddLine(uint32_t gsi) {
  if (lines_used_ == parts_.lines.size()) TRY(CreateLine(gsi));
  return parts_.lines[lines_used_++].get();
}

Result<void> MachineBuilder::AddLegacyDevices() {
  parts_.power = std::make_unique<PowerEventsToLatch>(parts_.end.get());
  parts_.acpi_pm = std::make_unique<AcpiPm>(parts_.power.get());
  TRY(parts_.pio->Insert(layout::kAcpiPmPort, AcpiPm::kSize, parts_.acpi_pm.get()));
  parts_.i8042 = std::make_unique<I8042Reset>(parts_.power.get());
  TRY(parts_.pio->Insert(layout::kI8042Port, I8042Reset::kSize, parts_.i8042.get()));
  parts_.doorbell = std::make_unique<Doorbell>();
  TRY(parts_.pio->Insert(kDoorbellPort, Doorbell::kPortSize, parts_.doorbell.get()));
  TRY(parts_.mmio->Insert(layout::kDoorbell, Doorbell::kSize, parts_.doorbell.get()));

  parts_.routes = std::make_unique<IoapicRoutes>(parts_.vm.get(), log_);
  parts_.routes->Hold();
  parts_.ioapic = TRY(Ioapic::Create(
      {parts_.routes.get(), layout::kFirstVirtioGsi + static_cast<unsigned>(CountVirtioDevices())},
      saved_ ? saved_->ioapic : Ioapic::ResetState()));
  parts_.routes->Apply();
  TRY(parts_.mmio->Insert(layout::kIoapic, layout::kIoapicSize, parts_.ioapic.get()));

  // The port is there without a console too: a kernel that probes for it finds it working.
  parts_.serial_output = std::make_unique<SerialOutput>(config_.serial_output, parts_.loop.get(),
                                                        config_.threads.filtered());
  parts_.metrics.Add("serial", "serial0", &parts_.serial_output->metrics());
  InterruptLine* line = TRY(AddLine(layout::kSerialGsi));
  parts_.serial = TRY(
      Serial::Create({line, parts_.serial_output.get()}, saved_ ? saved_->serial : SerialState{}));
  TRY(parts_.pio->Insert(layout::kSerialPort, Serial::kSize, parts_.serial.get()));
  if (config_.serial_input >= 0) {
    parts_.serial_input =
        TRY(SerialInput::Create(config_.serial_input, parts_.serial.get(), parts_.loop.get()));
  }
  acpi_.serial = true;
  return AddGeneration();
}

Result<void> MachineBuilder::AddGeneration() {
  InterruptLine* const line = TRY(AddLine(layout::kGenerationGsi));
  const GenerationIdState state =
      saved_ ? saved_->generation : GenerationIdState{TRY(GenerationId::NewGuid())};
  parts_.generation =
      TRY(GenerationId::Create({parts_.memory.get(), layout::kGenerationId, line}, state));
  acpi_.generation = AcpiGeneration{layout::kGenerationId, layout::kGenerationGsi};
  return {};
}

Result<void> MachineBuilder::AddVirtioDevices() {
  for (DiskConfig& disk : config_.disks) TRY(AddDisk(std::move(disk)));
  for (NetConfig& net : config_.nets) TRY(AddNet(std::move(net)));
  if (config_.vsock) TRY(AddVsock(*std::move(config_.vsock)));
  if (config_.balloon) TRY(AddBalloon(*config_.balloon));
  if (config_.rng) TRY(AddRng());
  return {};
}

Result<void> MachineBuilder::AddTransport(std::string name, std::unique_ptr<VirtioDevice> device,
                                          KickMode kick_mode) {
  const auto index = static_cast<uint32_t>(parts_.transports.size());
  const uint32_t gsi = layout::kFirstVirtioGsi + index;
  const uint64_t base = layout::kVirtioMmio + index * layout::kVirtioMmioStride;
  const std::string label = name;
  const MmioState state = TRY(TakeTransport(name));
  MmioTransport::Resources resources;
  resources.name = std::move(name);
  resources.device = std::move(device);
  resources.memory = parts_.memory.get();
  resources.interrupt = TRY(AddLine(gsi));
  resources.loop = parts_.loop.get();
  resources.kick_mode = kick_mode;
  resources.log = log_;
  parts_.transports.push_back(TRY(MmioTransport::Create(std::move(resources), state)));
  parts_.metrics.Add("virtio", label, &parts_.transports.back()->metrics());
  if (kick_mode == KickMode::kLoop) {
    TRY(parts_.vm->AssignIoeventfd(parts_.transports.back()->notify_fd(),
                                   base + mmio::kQueueNotify));
  }
  TRY(parts_.mmio->Insert(base, MmioTransport::kSize, parts_.transports.back().get()));
  acpi_.virtio.push_back({static_cast<uint32_t>(base), MmioTransport::kSize, gsi});
  return {};
}

Result<void> MachineBuilder::AddDisk(DiskConfig disk) {
  const std::string name = fmt::format("disk{}", parts_.transports.size());
  DiskSource source{disk.path,         disk.read_only, std::move(disk.fd),
                    disk.engine,       disk.overlay,   std::move(disk.overlay_fd),
                    config_.threads.io};
  BlkDevice::Resources resources;
  resources.name = name;
  resources.backend = TRY(WithContext(OpenBlkBackend(std::move(source)), name));
  resources.loop = parts_.loop.get();
  resources.log = log_;
  resources.options = disk.options;
  if (resources.options.serial.empty()) resources.options.serial = name;
  BlkState state;
  if (saved_) state = TRY(TakeState(&MachineState::disks, parts_.disks.size(), name));
  auto device = TRY(BlkDevice::Create(std::move(resources), state));
  parts_.disks.push_back(device.get());
  const BlkMetrics* const metrics = &device->metrics();
  TRY(AddTransport(name, std::move(device), KickMode::kLoop));
  parts_.metrics.Add("blk", name, metrics);
  return {};
}

Result<void> MachineBuilder::AddNet(NetConfig net) {
  const std::string name = fmt::format("net{}", parts_.nets.size());
  NetDevice::Resources resources;
  resources.name = name;
  resources.backend = TRY(
      WithContext(net.fd.valid() ? TapBackend::Create(std::move(net.fd), net.tap, parts_.loop.get())
                                 : TapBackend::Open(net.tap, parts_.loop.get()),
                  name));
  resources.loop = parts_.loop.get();
  resources.receive_limits = net.receive_limits;
  resources.transmit_limits = net.transmit_limits;
  resources.filter_source = net.filter_source;
  resources.log = log_;
  NetState state{{}, net.mtu, net.link_up};
  if (saved_) {
    state = TRY(TakeState(&MachineState::nets, parts_.nets.size(), name));
    if (net.mac) state.mac = *net.mac;
  } else {
    state.mac = net.mac ? *net.mac : TRY(WithContext(RandomMac(), name));
  }
  auto device = TRY(NetDevice::Create(std::move(resources), state));
  NetDevice* const added = device.get();
  parts_.nets.push_back(added);
  TRY(AddTransport(name, std::move(device), KickMode::kLoop));
  added->OnConfigChange(
      [transport = parts_.transports.back().get()] { transport->ConfigChanged(); });
  parts_.metrics.Add("net", name, &added->metrics());
  return {};
}

Result<void> MachineBuilder::AddVsock(VsockConfig config) {
  VsockDevice::Resources resources;
  resources.name = "vsock";
  resources.loop = parts_.loop.get();
  resources.log = log_;
  if (config.control != nullptr) resources.services.emplace(control::kPort, config.control);
  if (!config.path.empty()) {
    parts_.host_sockets = std::make_unique<HostSockets>(
        TRY(WithContext(EndpointFor(&config), "vsock")), std::move(config.allowed_ports),
        parts_.loop.get(), config_.threads.filtered(), log_);
    resources.host = parts_.host_sockets.get();
  }
  VsockState state{config.guest_cid};
  if (saved_) {
    state = TRY(TakeState(&MachineState::vsocks, 0, "vsock"));
    resources.new_cid = config.new_cid;
  }
  auto device = TRY(VsockDevice::Create(std::move(resources), state));
  VsockDevice* const vsock = device.get();
  parts_.vsock = vsock;
  parts_.metrics.Add("vsock", "vsock", &vsock->metrics());
  // Streams within the process take no system call.
  TRY(AddTransport("vsock", std::move(device),
                   config.path.empty() ? KickMode::kInline : InlineUnlessFiltered()));
  if (parts_.host_sockets) TRY(parts_.host_sockets->Serve(vsock));
  return {};
}

Result<void> MachineBuilder::AddBalloon(const BalloonConfig& config) {
  if (config.target_bytes > config_.memory_bytes) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("balloon: {} MiB, but the memory has {} MiB", config.target_bytes >> 20,
                            config_.memory_bytes >> 20));
  }
  BalloonState state;
  state.target_pages = static_cast<uint32_t>(config.target_bytes / GuestMemory::kPageSize);
  state.deflate_on_oom = config.deflate_on_oom;
  if (saved_) state = TRY(TakeState(&MachineState::balloons, 0, "balloon"));
  auto device = TRY(BalloonDevice::Create(
      {"balloon", parts_.memory.get(), parts_.loop.get(), config.stats_interval, log_}, state));
  parts_.balloon = device.get();
  parts_.metrics.Add("balloon", "balloon", &device->metrics());
  TRY(AddTransport("balloon", std::move(device), KickMode::kLoop));
  parts_.balloon->OnConfigChange(
      [transport = parts_.transports.back().get()] { transport->ConfigChanged(); });
  return {};
}

Result<void> MachineBuilder::AddRng() {
  RngDevice::Resources resources;
  resources.name = "rng";
  resources.source = std::make_unique<HostEntropy>();
  resources.loop = parts_.loop.get();
  resources.log = log_;
  auto device = RngDevice::Create(std::move(resources));
  parts_.metrics.Add("rng", "rng", &device->metrics());
  return AddTransport("rng", std::move(device), InlineUnlessFiltered());
}

Result<std::vector<uint8_t>> MachineBuilder::TakeInitrd() {
  if (config_.initrd_path.empty()) return std::move(config_.initrd);
  return WithContext(ReadFile(config_.initrd_path, kMostInitrdBytes), "initrd");
}

Result<LoadedKernel> MachineBuilder::LoadGuest() {
  const GuestMemory& memory = *parts_.memory;
  LoadedKernel kernel = TRY(config_.kernel_fd.valid()
                                ? LoadKernel(config_.kernel, std::move(config_.kernel_fd), memory)
                                : LoadKernel(config_.kernel, memory));
  BootInfo info;
  info.command_line = config_.command_line;
  const std::vector<uint8_t> initrd = TRY(TakeInitrd());
  if (!initrd.empty()) {
    info.initrd = InitrdLocation{TRY(LoadInitrd(initrd, kernel, memory)), initrd.size()};
  }
  acpi_.vcpu_count = config_.vcpu_count;
  info.rsdp = TRY(WriteAcpiTables(acpi_, PowerPorts(), memory));
  if (!memory.WriteValue(layout::kRestorePage, FirstLife())) {
    return Fail(ErrorCode::kInvalidArgument, "guest memory is too small to boot");
  }
  TRY(WriteBootInfo(kernel, info, memory));
  TRY(WriteCpuTables(kernel.protocol, memory));
  return kernel;
}

Result<void> MachineBuilder::CreateVcpus(const Kvm& kvm, const LoadedKernel& kernel) {
  const auto supported = TRY(kvm.SupportedCpuid());
  const bool tsc_deadline_timer = kvm.Check(KVM_CAP_TSC_DEADLINE_TIMER) != 0;
  for (uint32_t id = 0; id < config_.vcpu_count; ++id) {
    Vcpu vcpu = TRY(parts_.vm->CreateVcpu(id));
    abi::CpuidList cpuid = *supported;
    NormaliseCpuid(cpuid, {id, config_.vcpu_count, tsc_deadline_timer});
    TRY(vcpu.SetCpuid(cpuid));
    if (id == 0) TRY(SetBootState(vcpu, kernel));
    parts_.vcpus.push_back(std::move(vcpu));
  }
  return {};
}

Result<void> MachineBuilder::RestoreVcpus() {
  for (const VcpuState& state : saved_->vcpus) {
    if (parts_.threads) {
      const VcpuThread& thread = *parts_.threads->vcpus()[state.id];
      const std::string name = fmt::format("vcpu {}", state.id);
      if (!registers_set_) TRY(WithContext(thread.SetRegisters(state), name));
      TRY(WithContext(thread.SetEvents(state), name));
      continue;
    }
    Vcpu vcpu = TRY(parts_.vm->CreateVcpu(state.id));
    TRY(WithContext(RestoreVcpu(vcpu, state), fmt::format("vcpu {}", state.id)));
    parts_.vcpus.push_back(std::move(vcpu));
  }
  return {};
}

}  // namespace mayfly
