#pragma once

#include <cstddef>
#include <cstdint>

namespace mayfly {

// Accesses to memory that may turn out not to be there: a page of a file that somebody has
// shortened, a page that a pager cannot have. They return false instead of raising SIGSEGV or
// SIGBUS, and what they wrote until then stays. Any thread in which neither signal is blocked.
//
// How: a handler of the process's for both signals looks whether the fault is at one of the
// instructions in guarded_access.cc, and if so has the function return false. All other faults go
// to whoever had the signals before. It keeps nothing but that.
bool GuardedCopy(void* to, const void* from, size_t length);
bool GuardedFill(void* to, uint8_t value, size_t length);
// With acquire order, with release order.
bool GuardedLoad16(const uint16_t* from, uint16_t* out);
bool GuardedStore16(uint16_t* to, uint16_t value);

// Installs the handler, once in a process. A handler that the process sets later takes its place.
void InstallGuardedAccess();

}  // namespace mayfly
