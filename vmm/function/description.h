#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

enum class HandlerKind {
  kNative,     // A shared object with mayfly's C handler ABI.
  kBootstrap,  // A program named bootstrap that speaks the Lambda Runtime API.
};

// What a function is, beside its files. docs/function-image-format.md lists the JSON form.
struct FunctionDescription {
  static constexpr uint32_t kLeastMemoryMib = 64;
  static constexpr uint32_t kMostMemoryMib = 65536;
  static constexpr uint32_t kMostVcpus = 32;
  static constexpr uint32_t kMostTimeoutMs = 900'000;
  // Names and values together, the limit that Lambda documents.
  static constexpr size_t kMostEnvironmentBytes = 4096;

  std::string name{};
  HandlerKind kind = HandlerKind::kNative;
  // kNative: the shared object, relative to the function's directory. kBootstrap: any text, which
  // the program finds in _HANDLER.
  std::string handler{};
  std::map<std::string, std::string> environment{};
  uint32_t memory_mib = 128;
  uint32_t vcpus = 1;
  uint32_t timeout_ms = 3000;

  bool operator==(const FunctionDescription&) const = default;
};

// What mayfly.json in a function's directory says: the description, and what else to pack.
struct FunctionSource {
  static constexpr size_t kMostIncludes = 256;

  FunctionDescription description;
  // Absolute paths on the host: programs, other files, directories.
  std::vector<std::string> include;
};

// Parses mayfly.json. `name` stands in front of errors, which are kInvalidArgument and name the
// path of what is wrong: "mayfly.json: /environment/FOO: expected a string, found a number".
Result<FunctionSource> ParseFunctionSource(std::string_view text, const std::string& name);

// Parses what Serialize() wrote and somebody may have changed since: errors are kCorrupt.
Result<FunctionDescription> ParseFunctionDescription(std::string_view text,
                                                     const std::string& name);

// One line of JSON; equal descriptions give equal bytes. Always fits into a frame of the control
// channel.
std::string Serialize(const FunctionDescription& description);

}  // namespace mayfly
