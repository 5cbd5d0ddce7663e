#include "tests/support/memory_use.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace mayfly {

uint64_t ResidentBytesWithout(const void* excluded) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t kilobytes = 0;
  bool counted = true;
  std::string line;
  while (std::getline(maps, line)) {
    unsigned long start = 0;
    unsigned long end = 0;
    unsigned long resident = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2) {
      const auto address = reinterpret_cast<uintptr_t>(excluded);
      counted = address < start || address >= end;
    } else if (counted && std::sscanf(line.c_str(), "Rss: %lu kB", &resident) == 1) {
      kilobytes += resident;
    }
  }
  return kilobytes * 1024;
}

uint64_t CountFromEnvironment(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

}  // namespace mayfly
