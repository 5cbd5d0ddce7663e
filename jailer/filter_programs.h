#pragma once

#include <linux/filter.h>

#include <span>
#include <string>

#include "jailer/thread_kind.h"

namespace mayfly {

// The table of FilterTable(), compiled for one kind of thread: ends the process at any other call.
std::span<const sock_filter> FilterProgram(ThreadKind kind);

// "openat (257)", or the number alone if libseccomp knows no name for it.
std::string SystemCallName(int number);

}  // namespace mayfly
