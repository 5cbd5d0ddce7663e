#pragma once

#include <string>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"
#include "tests/bench/measurement.h"

namespace mayfly {

enum class StreamLoad {
  kRoundTrip,  // The peer sends everything back.
  kSend,       // The peer takes everything.
  kReceive,    // The peer sends without an end.
};

// The peer of a stream, on a thread of its own: until the other side closes.
class StreamPeer {
 public:
  // Of an open stream.
  StreamPeer(UniqueFd stream, StreamLoad load);
  // Of the first that connects to `path`, within some seconds.
  static Result<StreamPeer> Listen(const std::string& path, StreamLoad load);

 private:
  explicit StreamPeer(std::jthread thread) : thread_(std::move(thread)) {}
  std::jthread thread_;
};

// What a plain program gets through a Unix socket, with messages of `size` bytes.
Result<Measurement> MeasureUnixSocket(StreamLoad load, size_t size, double seconds);

}  // namespace mayfly
