#pragma once

#include <cstdio>
#include <cstdlib>

// An invariant of our own code, on in release builds too. Never for what a guest, a file or the
// host can cause: those are errors, and travel as values.
#define CHECK(condition)                                                                       \
  do {                                                                                         \
    if (!(condition)) [[unlikely]] {                                                           \
      (void)std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)
