#pragma once

#include "base/check.h"
#include "base/event_loop.h"

namespace mayfly {

// Runs `loop` on this thread until what is ready now has been dispatched.
inline void RunReady(EventLoop* loop) {
  loop->Post([loop] { loop->Stop(); });
  CHECK(loop->Run());
}

}  // namespace mayfly
