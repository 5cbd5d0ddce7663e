#include "vmm/machine/function_machine.h"

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "vmm/machine/machine_builder.h"

namespace mayfly {
namespace {

// quiet: each character on the serial port is an exit. pci=off: there is no bus to scan.
// panic=-1 with reboot=a: a panic ends the machine at once instead of leaving it spinning.
constexpr char kCommandLine[] =
    "quiet panic=-1 reboot=a pci=off tsc=reliable no_timer_check random.trust_cpu=on "
    "8250.nr_uarts={}{}";

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
                     const std::vector<InterfaceAddress>& addresses) {
  rapidjson::Document document;
  document.Parse(Serialize(description).c_str());
  auto& allocator = document.GetAllocator();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  document.AddMember(
      "wall_clock_ns",
      static_cast<int64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()),
      allocator);
  document.AddMember("device", "/dev/vda", allocator);
  document.AddMember("network", NetworkJson(addresses, allocator), allocator);
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  document.Accept(writer);
  return buffer.GetString();
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
  self->machine_ = TRY(MachineBuilder(std::move(machine), log).Boot());
  self->timings_.created = std::chrono::steady_clock::now();
  self->machine_->OnEnd([channel = &self->channel_](const MachineEnd& end) {
    channel->Close(end.detail.empty()
                       ? fmt::format("the guest ended before its answer: {}", NameOf(end.reason))
                       : fmt::format("the guest ended before its answer: {} ({})",
                                     NameOf(end.reason), end.detail));
  });
  self->machine_->Resume();
  return self;
}

Result<void> FunctionMachine::Load() {
  TRY(session_.WaitHello(timings_.created + kBootTimeout));
  timings_.hello = std::chrono::steady_clock::now();
  TRY(session_.Load(LoadJson(description_, addresses_)));
  timings_.ready = std::chrono::steady_clock::now();
  return {};
}

Result<InvocationResult> FunctionMachine::Invoke(std::span<const uint8_t> event,
                                                 const Invocation& invocation) {
  return session_.Invoke(event, invocation);
}

void FunctionMachine::Stop() {
  if (machine_) machine_->Stop();
}

}  // namespace mayfly
