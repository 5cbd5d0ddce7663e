#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

// The few constructs of the ACPI Machine Language that the DSDT needs (ACPI 6.5, chapter 20). Each
// function returns the bytes of one term; terms are nested by passing the inner bytes on.
namespace mayfly::aml {

using Bytes = std::vector<uint8_t>;

Bytes Concat(std::initializer_list<std::span<const uint8_t>> parts);

// `name` is one segment of 4 characters, or "\\_SB_" and the like.
Bytes Scope(std::string_view name, std::span<const uint8_t> terms);
Bytes Device(std::string_view name, std::span<const uint8_t> terms);
Bytes Name(std::string_view name, std::span<const uint8_t> object);
// A serialized method; within `terms` its arguments are Arg0 and so on.
Bytes Method(std::string_view name, uint8_t argument_count, std::span<const uint8_t> terms);
Bytes Notify(std::string_view object, uint8_t value);
Bytes Package(std::initializer_list<uint64_t> integers);

Bytes Integer(uint64_t value);
Bytes String(std::string_view text);
// An EISA id such as "PNP0501" in its compressed form (19.3.4).
Bytes EisaId(std::string_view id);

// Resource descriptors (6.4), to be put together by ResourceTemplate().
Bytes Memory32Fixed(uint32_t base, uint32_t length);
Bytes IoPort(uint16_t base, uint8_t length);
Bytes EdgeInterrupt(uint32_t gsi);
Bytes ResourceTemplate(std::span<const uint8_t> descriptors);

}  // namespace mayfly::aml
