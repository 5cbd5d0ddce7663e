#include "tests/support/memory_use.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"

namespace mayfly {

uint64_t ResidentBytesWithout(const void* excluded) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t kilobytes = 0;
  bool counted = true;
  std::string line;
  while (std::getline(maps, line)) {
    std::istringstream fields(line);
    if (line.starts_with("Rss:")) {
      uint64_t resident = 0;
      fields.ignore(4) >> resident;
      if (counted) kilobytes += resident;
      continue;
    }
    // A mapping begins with "START-END "; every other line with a name.
    uintptr_t start = 0;
    uintptr_t end = 0;
    char dash = 0;
    if (fields >> std::hex >> start >> dash >> end && dash == '-') {
      const auto address = reinterpret_cast<uintptr_t>(excluded);
      counted = address < start || address >= end;
    }
  }
  return kilobytes * 1024;
}

uint64_t HeldBytes(const void* start, uint64_t size) {
  constexpr uint64_t kPresentOrSwapped = 3ULL << 62;
  const auto page_size = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<uint64_t> pages(size / page_size);
  const uint64_t first = reinterpret_cast<uintptr_t>(start) / page_size;
  std::ifstream pagemap("/proc/self/pagemap", std::ios::binary);
  pagemap.seekg(static_cast<std::streamoff>(first * sizeof(uint64_t)));
  pagemap.read(reinterpret_cast<char*>(pages.data()),
               static_cast<std::streamsize>(pages.size() * sizeof(uint64_t)));
  CHECK(pagemap.good());
  const auto held = std::count_if(pages.begin(), pages.end(),
                                  [](uint64_t page) { return (page & kPresentOrSwapped) != 0; });
  return static_cast<uint64_t>(held) * page_size;
}

uint64_t CountFromEnvironment(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

}  // namespace mayfly
