#pragma once

#include <stdint.h>

// Bytes that differ all over a long stream, and a hash that notices if one is lost, changed or
// moved. For both ends: C in the guest, C++ on the host.

#define PATTERN_WORDS 8192  // 64 KiB
#define PATTERN_CHUNKS_PER_MIB 16
#define PATTERN_HASH_START 0xcbf29ce484222325ULL

static inline void pattern_fill(uint64_t* words, uint64_t chunk) {
  for (uint64_t i = 0; i < PATTERN_WORDS; ++i) {
    words[i] = (chunk * PATTERN_WORDS + i) * 0x9e3779b97f4a7c15ULL;
  }
}

static inline uint64_t pattern_hash(const uint64_t* words, uint64_t hash) {
  for (uint64_t i = 0; i < PATTERN_WORDS; ++i) hash = (hash ^ words[i]) * 0x100000001b3ULL;
  return hash;
}
