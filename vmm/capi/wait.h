#pragma once

#include "base/event_fd.h"
#include "vmm/capi/status.h"

namespace mayfly::capi {

// Waits until `fd` is readable: 0, or E_TIMEOUT after `timeout_ms` (-1: no limit), or E_CANCELLED
// once `closing` is signalled, which is never read.
Status WaitReadable(int fd, const EventFd& closing, int timeout_ms);

}  // namespace mayfly::capi
