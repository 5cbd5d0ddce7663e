#include "guest-init/messages.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>

#include "base/control_protocol.h"
#include "guest-init/json.h"

#ifndef MAYFLY_VERSION
#define MAYFLY_VERSION "unknown"
#endif

namespace mayfly::init {
namespace {

constexpr uint32_t kDefaultTimeoutMs = 3000;
constexpr uint32_t kDefaultInitTimeoutMs = 10'000;
constexpr uint64_t kMaxTimeoutMs = 900'000;
// An error must fit into one frame whatever the handler put into it. JSON makes up to six bytes of
// one in a text; the trace is counted as JSON.
constexpr size_t kMaxErrorType = 256;
constexpr size_t kMaxErrorMessage = size_t{4} * 1024;
constexpr size_t kMaxStackTrace = size_t{32} * 1024;
static_assert(6 * (kMaxErrorType + kMaxErrorMessage) + kMaxStackTrace + 1024 <
              control::kMaxPayload);
// Bounds the head of an answer to /next, and what a native handler is given.
constexpr size_t kMaxField = size_t{8} * 1024;

std::unexpected<Error> Invalid(const char* what) { return Fail(ErrorCode::kInvalidArgument, what); }

uint32_t Timeout(const JsonObject& json, const char* key, uint32_t otherwise) {
  const uint64_t value = json.Integer(key).value_or(0);
  return value == 0 ? otherwise : static_cast<uint32_t>(std::min(value, kMaxTimeoutMs));
}

// These become HTTP headers: a line break in one would be a header of the host's making.
Result<std::string> Field(const JsonObject& json, const char* key) {
  std::string value = json.String(key).value_or("");
  const bool has_control = std::ranges::any_of(
      value, [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; });
  if (has_control || value.size() > kMaxField) {
    return Fail(ErrorCode::kInvalidArgument,
                std::string(key) + ": too long, or a control character in it");
  }
  return value;
}

bool IsVariableName(std::string_view name) {
  return !name.empty() && name.find('=') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

uint64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

void WriteUsage(JsonWriter& json, const Usage& usage) {
  json.Integer("duration_us", usage.duration_us);
  json.Integer("max_memory_bytes", usage.max_memory_bytes);
  json.Integer("log_dropped_bytes", usage.log_dropped_bytes);
}

Result<std::vector<NetworkInterface>> ParseNetwork(const JsonObject& json) {
  std::vector<NetworkInterface> network;
  const std::vector<JsonObject> objects = TRY(json.Objects("network"));
  for (const JsonObject& object : objects) {
    NetworkInterface interface;
    interface.name = object.String("interface").value_or("");
    interface.address = object.String("address").value_or("");
    interface.prefix = static_cast<unsigned>(std::min<uint64_t>(
        object.Integer("prefix").value_or(0), std::numeric_limits<unsigned>::max()));
    interface.gateway = object.String("gateway").value_or("");
    interface.dns = object.Strings("dns");
    if (interface.name.empty() || interface.address.empty()) {
      return Invalid("an interface without name or address");
    }
    network.push_back(std::move(interface));
  }
  return network;
}

}  // namespace

Result<Function> ParseLoad(std::span<const uint8_t> payload) {
  const Result<JsonObject> parsed = JsonObject::Parse(payload, "load");
  if (!parsed) return std::unexpected(parsed.error());
  const JsonObject& json = *parsed;
  Function function;
  function.name = json.String("name").value_or("");
  if (function.name.empty()) return Invalid("load: no name");
  function.version = json.String("version").value_or(function.version);
  const std::string kind = json.String("kind").value_or("");
  if (kind != "native" && kind != "bootstrap") {
    return Invalid("load: kind is neither native nor bootstrap");
  }
  function.kind = kind == "native" ? HandlerKind::kNative : HandlerKind::kBootstrap;
  function.handler = json.String("handler").value_or("");
  if (function.handler.find('\0') != std::string::npos) return Invalid("load: NUL in the handler");
  if (function.kind == HandlerKind::kNative && function.handler.empty()) {
    return Invalid("load: no handler");
  }
  function.environment = TRY(json.StringMap("environment"));
  for (const auto& [name, value] : function.environment) {
    if (!IsVariableName(name) || value.find('\0') != std::string::npos) {
      return Invalid("load: not a variable that an environment can hold");
    }
  }
  function.memory_mib = json.Integer("memory_mib").value_or(0);
  function.timeout_ms = Timeout(json, "timeout_ms", kDefaultTimeoutMs);
  function.init_timeout_ms = Timeout(json, "init_timeout_ms", kDefaultInitTimeoutMs);
  function.wall_clock_ns = json.Integer("wall_clock_ns").value_or(0);
  function.network = TRY(ParseNetwork(json));
  function.device = json.String("device").value_or("/dev/vda");
  function.snapshot = json.Bool("snapshot").value_or(false);
  return function;
}

Result<std::vector<NetworkInterface>> ParseRestore(std::span<const uint8_t> payload) {
  return ParseNetwork(TRY(JsonObject::Parse(payload, "restore")));
}

Result<InvokeRequest> ParseInvoke(const Function& function, uint64_t id,
                                  std::span<const uint8_t> payload) {
  const Result<JsonObject> parsed = JsonObject::Parse(payload, "invoke");
  if (!parsed) return std::unexpected(parsed.error());
  const JsonObject& json = *parsed;
  InvokeRequest request;
  request.invocation.id = id;
  request.invocation.request_id = TRY(Field(json, "request_id"));
  // It is part of a path, and compared as such.
  const bool plain = std::ranges::all_of(request.invocation.request_id, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
  if (request.invocation.request_id.empty() || !plain) {
    return Invalid("invoke: request_id is not made of A-Z a-z 0-9 -");
  }
  request.invocation.trace_id = TRY(Field(json, "trace_id"));
  request.invocation.client_context = TRY(Field(json, "client_context"));
  request.invocation.cognito_identity = TRY(Field(json, "cognito_identity"));
  request.invocation.function_arn = TRY(Field(json, "function_arn"));
  if (request.invocation.function_arn.empty()) {
    request.invocation.function_arn =
        "arn:aws:lambda:us-east-1:012345678912:function:" + function.name;
  }
  request.invocation.timeout_ms = Timeout(json, "timeout_ms", function.timeout_ms);
  request.invocation.deadline_ms =
      json.Integer("deadline_ms").value_or(NowMs() + request.invocation.timeout_ms);
  const auto size = json.Integer("size");
  if (!size || *size > control::kMaxEvent) {
    return Invalid("invoke: no size of the event, or above the limit");
  }
  request.event_size = *size;
  return request;
}

std::string HelloJson() {
  JsonWriter json;
  json.Integer("version", control::kVersion);
  json.String("init", MAYFLY_VERSION);
  return json.Finish();
}

std::string ReadyJson(uint64_t boot_us, uint64_t load_us, bool awaits_restore) {
  JsonWriter json;
  json.Integer("boot_us", boot_us);
  json.Integer("load_us", load_us);
  json.Bool("awaits_restore", awaits_restore);
  return json.Finish();
}

std::string DoneJson(const Usage& usage) {
  JsonWriter json;
  WriteUsage(json, usage);
  return json.Finish();
}

std::string ErrorJson(const HandlerError& error, const Usage& usage) {
  JsonWriter json;
  json.String("errorType", ValidUtf8(error.type, kMaxErrorType));
  json.String("errorMessage", ValidUtf8(error.message, kMaxErrorMessage));
  if (!error.stack_trace.empty() && error.stack_trace.size() <= kMaxStackTrace) {
    json.Raw("stackTrace", error.stack_trace);
  }
  json.Bool("reusable", error.reusable);
  json.Integer("document_bytes", error.document.size());
  WriteUsage(json, usage);
  return json.Finish();
}

std::vector<std::string> HandlerEnvironment(const Function& function, uint16_t runtime_api_port) {
  std::map<std::string, std::string> variables{
      {"LANG", "en_US.UTF-8"},
      {"PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"},
      {"LD_LIBRARY_PATH",
       "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"},
      {"AWS_REGION", "us-east-1"},
      {"AWS_DEFAULT_REGION", "us-east-1"},
  };
  for (const auto& [name, value] : function.environment) variables.insert_or_assign(name, value);
  const std::pair<const char*, std::string> reserved[] = {
      {"_HANDLER", function.handler},
      {"AWS_LAMBDA_FUNCTION_NAME", function.name},
      {"AWS_LAMBDA_FUNCTION_VERSION", function.version},
      {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", std::to_string(function.memory_mib)},
      {"AWS_LAMBDA_INITIALIZATION_TYPE", function.snapshot ? "snap-start" : "on-demand"},
      {"AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + function.name},
      {"AWS_LAMBDA_LOG_STREAM_NAME", function.version},
      {"LAMBDA_TASK_ROOT", "/var/task"},
      {"LAMBDA_RUNTIME_DIR", "/var/runtime"},
      {"TZ", ":UTC"},
  };
  for (const auto& [name, value] : reserved) variables.insert_or_assign(name, value);
  if (runtime_api_port != 0) {
    variables["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:" + std::to_string(runtime_api_port);
  }
  std::vector<std::string> environment;
  environment.reserve(variables.size());
  for (const auto& [name, value] : variables) {
    environment.push_back(std::string(name).append("=").append(value));
  }
  return environment;
}

}  // namespace mayfly::init
