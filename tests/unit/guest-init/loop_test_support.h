#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/file.h"
#include "guest-init/handler_channel.h"

namespace mayfly::init {

inline std::unique_ptr<EventLoop> MakeLoop() {
  auto loop = EventLoop::Create();
  EXPECT_TRUE(loop);
  return std::move(*loop);
}

// Runs `loop` until `done`, or for five seconds; says whether it was done.
inline bool RunUntil(EventLoop& loop, const std::function<bool()>& done) {
  const auto end = EventLoop::Clock::now() + std::chrono::seconds(5);
  while (!done()) {
    if (EventLoop::Clock::now() > end) return false;
    loop.After(std::chrono::milliseconds(1), [&loop] { loop.Stop(); });
    if (!loop.Run()) return false;
  }
  return true;
}

struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
};

inline SocketPair MakeSocketPair() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

inline std::vector<uint8_t> Bytes(std::string_view text) { return {text.begin(), text.end()}; }

inline Invocation MakeInvocation(const std::string& request_id, std::string_view event) {
  Invocation invocation;
  invocation.id = 1;
  invocation.request_id = request_id;
  invocation.deadline_ms = 1234;
  invocation.event = std::make_shared<const std::vector<uint8_t>>(Bytes(event));
  return invocation;
}

// Writes down what a channel tells its session.
struct RecordingObserver final : HandlerObserver {
  void OnHandlerReady() override { ++ready; }
  void OnHandlerPrepared() override { ++prepared; }
  void OnHandlerAnswer(std::vector<uint8_t> answer) override {
    answers.push_back(std::move(answer));
  }
  void OnHandlerError(HandlerError error) override { errors.push_back(std::move(error)); }
  void OnHandlerGone() override { ++gone; }

  int ready = 0;
  int prepared = 0;
  int gone = 0;
  std::vector<std::vector<uint8_t>> answers;
  std::vector<HandlerError> errors;
};

}  // namespace mayfly::init
