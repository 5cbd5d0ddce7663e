#include "guest-init/log_pump.h"

#include <sys/epoll.h>

#include <algorithm>

namespace mayfly::init {

LogPump::~LogPump() {
  for (Stream& stream : streams_) End(stream);
}

Result<void> LogPump::Start(UniqueFd output, UniqueFd error) {
  streams_[0].pipe = std::move(output);
  streams_[1].pipe = std::move(error);
  for (Stream& stream : streams_) TRY(Watch(stream));
  return {};
}

Result<void> LogPump::Watch(Stream& stream) {
  stream.watch = TRY(loop_->Watch(stream.pipe.get(), EPOLLIN, [this, &stream](uint32_t) {
    if (channel_->queued() <= kMaxQueued) {
      ReadSome(stream);
    } else {
      Pause();
    }
  }));
  return {};
}

void LogPump::Pause() {
  paused_ = true;
  // Not only without interest: epoll reports a pipe's end even then, again and again.
  for (Stream& stream : streams_) {
    if (stream.watch != 0) loop_->Remove(std::exchange(stream.watch, 0));
  }
}

void LogPump::Begin(uint64_t invocation) {
  for (Stream& stream : streams_) FlushLine(stream);
  invocation_ = invocation;
  read_ = forwarded_ = dropped_ = 0;
}

void LogPump::Drain() {
  // A pipe holds at most a megabyte unless root enlarges it; whoever writes on meanwhile is cut.
  constexpr uint64_t kMaxDrained = 1 << 20;
  for (Stream& stream : streams_) {
    const uint64_t start = read_;
    while (read_ - start < kMaxDrained && ReadSome(stream)) {
    }
    FlushLine(stream);
  }
}

void LogPump::Resume() {
  if (!paused_ || channel_->queued() > kMaxQueued) return;
  paused_ = false;
  for (Stream& stream : streams_) {
    // Fails only without memory; Drain() still takes everything then.
    if (stream.pipe.valid()) IgnoreFailure(Watch(stream));
  }
}

bool LogPump::ReadSome(Stream& stream) {
  if (!stream.pipe.valid()) return false;
  std::array<uint8_t, kMaxLine> buffer;
  const ssize_t count = ::read(stream.pipe.get(), buffer.data(), buffer.size());
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && errno == EAGAIN) return false;
  if (count <= 0) {
    FlushLine(stream);
    End(stream);
    return false;
  }
  const bool was_too_much = read_ > kMaxOutput;
  read_ += static_cast<uint64_t>(count);
  Forward(stream, std::span(buffer).first(static_cast<size_t>(count)));
  if (!was_too_much && read_ > kMaxOutput) on_too_much_();
  return true;
}

void LogPump::Forward(Stream& stream, std::span<const uint8_t> bytes) {
  const auto last_newline = std::find(bytes.rbegin(), bytes.rend(), uint8_t{'\n'});
  const auto whole = static_cast<size_t>(bytes.rend() - last_newline);
  if (stream.line.size() + bytes.size() - whole >= kMaxLine || whole > 0) {
    // Lines that are complete now, or one that is too long to wait for its end.
    const size_t size = whole > 0 ? whole : bytes.size();
    stream.line.insert(stream.line.end(), bytes.begin(),
                       bytes.begin() + static_cast<ptrdiff_t>(size));
    FlushLine(stream);
    bytes = bytes.subspan(size);
  }
  stream.line.insert(stream.line.end(), bytes.begin(), bytes.end());
}

void LogPump::FlushLine(Stream& stream) {
  const std::vector<uint8_t> line = std::exchange(stream.line, {});
  if (line.empty()) return;
  const auto size =
      static_cast<size_t>(std::min<uint64_t>(line.size(), kMaxForwarded - forwarded_));
  forwarded_ += size;
  dropped_ += line.size() - size;
  if (size > 0) SendFrame(stream.tag, std::span(line).first(size));
}

void LogPump::SendFrame(control::LogStream tag, std::span<const uint8_t> text) {
  std::vector<uint8_t> payload{static_cast<uint8_t>(tag)};
  payload.insert(payload.end(), text.begin(), text.end());
  channel_->Send(control::FrameType::kLog, invocation_, payload);
}

void LogPump::End(Stream& stream) {
  if (stream.watch != 0) loop_->Remove(std::exchange(stream.watch, 0));
  stream.pipe.Reset();
}

}  // namespace mayfly::init
