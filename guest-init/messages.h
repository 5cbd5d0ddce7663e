#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "guest-init/handler_channel.h"

// The JSON payloads of the control channel's frames; base/control_protocol.h lists their members.
namespace mayfly::init {

enum class HandlerKind { kNative, kBootstrap };

// How one network interface is to be; IPv4.
struct NetworkInterface {
  std::string name;     // "eth0"
  std::string address;  // "172.31.0.2"
  unsigned prefix = 0;  // Bits of the network.
  std::string gateway;  // Of the default route; empty: none.
  std::vector<std::string> dns;
};

// kLoad.
struct Function {
  std::string name;
  std::string version = "$LATEST";
  HandlerKind kind = HandlerKind::kNative;
  std::string handler;
  std::vector<std::pair<std::string, std::string>> environment;
  uint64_t memory_mib = 0;
  uint32_t timeout_ms = 0;
  uint32_t init_timeout_ms = 0;
  uint64_t wall_clock_ns = 0;  // 0: the clock is right already.
  std::string device;
  std::vector<NetworkInterface> network;
  bool snapshot = false;  // The machine will be snapshotted.
};

Result<Function> ParseLoad(std::span<const uint8_t> payload);

// kRestore: the interfaces as they are to be in this life; none if they stay as they are.
Result<std::vector<NetworkInterface>> ParseRestore(std::span<const uint8_t> payload);

// kInvoke. The event itself follows; `event_size` says how long it is.
struct InvokeRequest {
  Invocation invocation;
  uint64_t event_size = 0;
};

Result<InvokeRequest> ParseInvoke(const Function& function, uint64_t id,
                                  std::span<const uint8_t> payload);

// How an invocation went, beside its answer.
struct Usage {
  uint64_t duration_us = 0;
  uint64_t max_memory_bytes = 0;
  uint64_t log_dropped_bytes = 0;
};

std::string HelloJson();
std::string ReadyJson(uint64_t boot_us, uint64_t load_us, bool awaits_restore);
std::string DoneJson(const Usage& usage);
std::string ErrorJson(const HandlerError& error, const Usage& usage);

// What the handler's process gets as its environment: defaults, what the function sets, and what
// the Runtime API defines and no function can change.
std::vector<std::string> HandlerEnvironment(const Function& function, uint16_t runtime_api_port);

}  // namespace mayfly::init
