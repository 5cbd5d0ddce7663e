#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

// What the dynamic section of a program or a shared object asks the loader for (System V ABI,
// chapter 5).
struct ElfDependencies {
  std::string interpreter;          // PT_INTERP; empty if there is none
  std::vector<std::string> needed;  // DT_NEEDED
  std::string rpath;                // DT_RPATH
  std::string runpath;              // DT_RUNPATH
  bool shared_object = false;       // ET_DYN: a library or a position-independent program
};

// Nothing if `fd` is not a dynamically linked x86-64 ELF file; kCorrupt if it is a damaged one. The
// file is untrusted, and is never run. `name` is for errors.
Result<std::optional<ElfDependencies>> ReadElfDependencies(int fd, std::string_view name);

}  // namespace mayfly
