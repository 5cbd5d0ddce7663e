#include "vmm/machine/function_machine.h"

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "base/file.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

// quiet: each character on the serial port is an exit. pci=off: there is no bus to scan.
// panic=-1 with reboot=a: a panic ends the machine at once instead of leaving it spinning.
// noreplace-smp: with one vCPU Linux takes the lock prefixes out of its code, one by one through a
// mapping of its own, which costs an eighth of the boot. rcu_expedited: a mount or a cgroup waits
// for a grace period, of two ticks if it is not to be hurried.
constexpr char kCommandLine[] =
    "quiet panic=-1 reboot=a pci=off tsc=reliable no_timer_check noreplace-smp "
    "rcupdate.rcu_expedited=1 random.trust_cpu=on 8250.nr_uarts={}{}";

using Allocator = rapidjson::Document::AllocatorType;

rapidjson::Value StringValue(const std::string& text, Allocator& allocator) {
  return {text.data(), static_cast<rapidjson::SizeType>(text.size()), allocator};
}

// An object for each interface that init is to configure.
rapidjson::Value NetworkJson(const std::vector<InterfaceAddress>& addresses, Allocator& allocator) {
  rapidjson::Value network(rapidjson::kArrayType);
  for (size_t i = 0; i < addresses.size(); ++i) {
    const InterfaceAddress& address = addresses[i];
    if (address.address.empty()) continue;
    rapidjson::Value dns(rapidjson::kArrayType);
    for (const std::string& server : address.dns) {
      dns.PushBack(StringValue(server, allocator), allocator);
    }
    rapidjson::Value interface(rapidjson::kObjectType);
    interface.AddMember("interface", StringValue(fmt::format("eth{}", i), allocator), allocator);
    interface.AddMember("address", StringValue(address.address, allocator), allocator);
    interface.AddMember("prefix", address.prefix, allocator);
    interface.AddMember("gateway", StringValue(address.gateway, allocator), allocator);
    interface.AddMember("dns", dns, allocator);
    network.PushBack(interface, allocator);
  }
  return network;
}

// The description, and what init needs to know besides.
std::string LoadJson(const FunctionDescription& description,
                     const std::vector<InterfaceAddress>& addresses, bool snapshot) {
  rapidjson::Document document;
  document.Parse(Serialize(description).c_str());
  auto& allocator = document.GetAllocator();
  document.AddMember("wall_clock_ns", static_cast<int64_t>(WallClockNs()), allocator);
  document.AddMember("device", "/dev/vda", allocator);
  document.AddMember("network", NetworkJson(addresses, allocator), allocator);
  if (snapshot) document.AddMember("snapshot", true, allocator);
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  document.Accept(writer);
  return buffer.GetString();
}

// What init is told in a further life.
std::string RestoreJson(const std::vector<InterfaceAddress>& addresses) {
  rapidjson::Document document(rapidjson::kObjectType);
  auto& allocator = document.GetAllocator();
  document.AddMember("network", NetworkJson(addresses, allocator), allocator);
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  document.Accept(writer);
  return buffer.GetString();
}

// An io_uring would open files for a jailed process past its filters.
void HandOver(FunctionJail& jail, MachineConfig* machine) {
  machine->kvm = std::move(jail.kvm);
  machine->kernel_fd = std::move(jail.kernel);
  machine->threads = jail.threads;
  if (!jail.threads.filtered()) return;
  for (DiskConfig& disk : machine->disks) disk.engine = BlkEngine::kThread;
}

}  // namespace

FunctionMachine::FunctionMachine(FunctionDescription description,
                                 std::vector<InterfaceAddress> addresses,
                                 FunctionSession::LogCallback on_log)
    : description_(std::move(description)),
      addresses_(std::move(addresses)),
      session_(&channel_, std::move(on_log)) {}

FunctionMachine::~FunctionMachine() { Stop(); }

Result<std::unique_ptr<FunctionMachine>> FunctionMachine::Boot(FunctionMachineConfig config,
                                                               FunctionSession::LogCallback on_log,
                                                               LogSink* log) {
  std::unique_ptr<FunctionMachine> self(new FunctionMachine(
      std::move(config.description), std::move(config.addresses), std::move(on_log)));
  const bool console = config.console_output >= 0;
  MachineConfig machine;
  machine.memory_bytes = uint64_t{self->description_.memory_mib} << 20;
  machine.vcpu_count = self->description_.vcpus;
  machine.kernel = std::move(config.kernel);
  machine.initrd = std::move(config.initrd);
  machine.command_line =
      fmt::format(kCommandLine, console ? 1 : 0, console ? " console=ttyS0 mayfly.console=1" : "");
  machine.disks.push_back({config.image_name, true, std::move(config.image)});
  machine.nets = std::move(config.nets);
  machine.vsock = VsockConfig{VsockConfig::kDefaultGuestCid, "", &self->channel_};
  machine.rng = true;
  machine.serial_output = config.console_output;
  HandOver(config.jail, &machine);
  self->snapshot_ = config.snapshot;
  auto booted = TRY(MachineBuilder(std::move(machine), log).Boot());
  TRY(self->Adopt(std::move(booted), config.jail.threads.filtered()));
  self->Begin(config.jail);
  return self;
}

Result<std::unique_ptr<FunctionMachine>> FunctionMachine::Restore(
    FunctionCloneConfig config, MachineState state, RestoredMemory memory,
    FunctionSession::LogCallback on_log, LogSink* log) {
  std::unique_ptr<FunctionMachine> self(new FunctionMachine(
      std::move(config.description), std::move(config.addresses), std::move(on_log)));
  MachineConfig machine;
  machine.disks.push_back({config.image_name, true, std::move(config.image)});
  machine.nets = std::move(config.nets);
  machine.vsock = VsockConfig{VsockConfig::kDefaultGuestCid, "", &self->channel_};
  machine.rng = true;
  machine.serial_output = config.console_output;
  machine.generation = config.generation;
  HandOver(config.jail, &machine);
  MachineBuilder builder(std::move(machine), log);
  auto restored =
      TRY(config.shell ? std::move(builder).Restore(std::move(state), std::move(config.shell))
                       : std::move(builder).Restore(std::move(state), std::move(memory)));
  TRY(self->Adopt(std::move(restored), config.jail.threads.filtered()));
  RestorePage life = TRY(NewLife());
  if (config.entropy) life.entropy = *config.entropy;
  if (!self->addresses_.empty()) {
    life.flags |= RestorePage::kAwaitRestoreFrame;
    TRY(self->channel_.Send(control::FrameType::kRestore, 0,
                            AsBytes(RestoreJson(self->addresses_))));
  }
  TRY(self->machine_->SetRestorePage(life));
  self->Begin(config.jail);
  return self;
}

Result<void> FunctionMachine::Adopt(std::unique_ptr<Machine> machine, bool jailed) {
  doorbell_ = TRY(EventFd::Create());
  machine_ = std::move(machine);
  timings_.created = std::chrono::steady_clock::now();
  machine_->OnEnd([channel = &channel_](const MachineEnd& end) {
    channel->Close(end.detail.empty()
                       ? fmt::format("the guest ended before its answer: {}", NameOf(end.reason))
                       : fmt::format("the guest ended before its answer: {} ({})",
                                     NameOf(end.reason), end.detail));
  });
  // A jailed machine is not saved: that would tell other vCPUs to pause, and open files.
  if (jailed) return {};
  machine_->OnDoorbell([this] {
    doorbell_->Signal();
    channel_.Wake();
  });
  return {};
}

void FunctionMachine::Begin(const FunctionJail& jail) {
  if (jail.lock_down) jail.lock_down();
  machine_->Resume();
}

Result<void> FunctionMachine::Load() {
  TRY(session_.WaitHello(timings_.created + kBootTimeout));
  timings_.hello = std::chrono::steady_clock::now();
  TRY(session_.Load(LoadJson(description_, addresses_, snapshot_)));
  timings_.ready = std::chrono::steady_clock::now();
  return {};
}

Result<InvocationResult> FunctionMachine::Invoke(std::span<const uint8_t> event,
                                                 const Invocation& invocation) {
  return session_.Invoke(event, invocation);
}

// What arrives before the doorbell is log lines, or an error instead of it.
Result<void> FunctionMachine::WaitForDoorbell() {
  const auto deadline = std::chrono::steady_clock::now() + kSnapshotTimeout;
  while (!doorbell_->Clear()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(ErrorCode::kTimeout, "the guest did not come to its snapshot point in time");
    }
    TRY(session_.WaitIdle(deadline));
  }
  machine_->Pause();
  return session_.TakeRest();
}

Result<FunctionMachine::Saved> FunctionMachine::SaveSnapshot(SnapshotWriter writer,
                                                             Manifest manifest,
                                                             const VerifiedStamps* stamps) {
  TRY(channel_.Send(control::FrameType::kSnapshot, 0, AsBytes("{}")));
  TRY(WithContext(WaitForDoorbell(), "snapshot"));
  if (!channel_.quiet()) {
    return Fail(ErrorCode::kGuest, "snapshot: the guest rang its doorbell with frames under way");
  }
  const auto paused = std::chrono::steady_clock::now();
  if (!manifest.function) manifest.function = Manifest::Function{};
  manifest.function->description = Serialize(description_);
  const MachineState state = TRY(machine_->Save());
  TRY(writer.WriteMemory(machine_->memory()));
  const Saved saved{std::chrono::steady_clock::now() - paused, writer.data_bytes()};
  TRY(std::move(writer).Publish(std::move(manifest), state, stamps));
  return saved;
}

void FunctionMachine::Stop() {
  if (machine_) machine_->Stop();
}

}  // namespace mayfly
