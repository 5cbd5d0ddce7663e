#include "guest-init/native_channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>

#include "base/bytes.h"
#include "base/check.h"
#include "base/control_protocol.h"
#include "base/file.h"

namespace mayfly::init {
namespace {

void Append(std::vector<uint8_t>& to, std::span<const uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

Result<std::unique_ptr<NativeChannel>> NativeChannel::Create(UniqueFd socket, EventLoop* loop,
                                                             HandlerObserver* observer) {
  std::unique_ptr<NativeChannel> channel(new NativeChannel(std::move(socket), loop, observer));
  NativeChannel* self = channel.get();
  channel->watch_ = TRY(loop->Watch(channel->socket_.get(), EPOLLIN,
                                    [self](uint32_t events) { self->OnEvents(events); }));
  return channel;
}

NativeChannel::~NativeChannel() { Close(); }

void NativeChannel::Deliver(const Invocation& invocation) {
  if (state_ != State::kIdle) return;
  state_ = State::kRunning;
  mayfly_native_invoke invoke{};
  invoke.deadline_ms = invocation.deadline_ms;
  invoke.request_id_length = static_cast<uint32_t>(invocation.request_id.size());
  invoke.trace_id_length = static_cast<uint32_t>(invocation.trace_id.size());
  invoke.client_context_length = static_cast<uint32_t>(invocation.client_context.size());
  mayfly_native_header header{};
  header.type = MAYFLY_NATIVE_INVOKE;
  header.length = sizeof(invoke) + invocation.request_id.size() + invocation.trace_id.size() +
                  invocation.client_context.size() + invocation.event->size();
  Append(output_, BytesOf(header));
  Append(output_, BytesOf(invoke));
  Append(output_, AsBytes(invocation.request_id));
  Append(output_, AsBytes(invocation.trace_id));
  Append(output_, AsBytes(invocation.client_context));
  output_event_ = invocation.event;
  WriteSome();
}

bool NativeChannel::PrepareSnapshot() {
  if (hook_ != Hook::kNone) {
    preparing_ = true;
    return false;
  }
  if ((hooks_ & MAYFLY_NATIVE_HAS_BEFORE_SNAPSHOT) == 0) return true;
  CallHook(Hook::kBeforeSnapshot, MAYFLY_NATIVE_BEFORE_SNAPSHOT);
  return false;
}

void NativeChannel::Restored() {
  // Who has no hook is not woken up.
  if ((hooks_ & MAYFLY_NATIVE_HAS_AFTER_RESTORE) == 0) return;
  CallHook(Hook::kAfterRestore, MAYFLY_NATIVE_AFTER_RESTORE);
}

void NativeChannel::CallHook(Hook hook, mayfly_native_type message) {
  hook_ = hook;
  const mayfly_native_header header{
      .type = static_cast<uint32_t>(message), .reserved = 0, .length = 0};
  Append(output_, BytesOf(header));
  WriteSome();
}

void NativeChannel::OnHookDone() {
  const Hook hook = std::exchange(hook_, Hook::kNone);
  if (hook == Hook::kBeforeSnapshot || (std::exchange(preparing_, false) && PrepareSnapshot())) {
    observer_->OnHandlerPrepared();
  }
}

void NativeChannel::Drain() {
  while (state_ != State::kClosed && ReadSome()) {
  }
}

void NativeChannel::OnEvents(uint32_t events) {
  if ((events & EPOLLOUT) != 0) WriteSome();
  // One read for each event: a handler that writes without end must not keep init from its timers.
  if (state_ != State::kClosed && (events & ~uint32_t{EPOLLOUT}) != 0) ReadSome();
}

bool NativeChannel::ReadSome() {
  // The rest of a header, or of a payload.
  const bool in_header = header_bytes_ < sizeof(header_);
  uint8_t* to =
      in_header ? MutableBytesOf(header_).data() + header_bytes_ : payload_.data() + payload_bytes_;
  const size_t wanted =
      in_header ? sizeof(header_) - header_bytes_ : payload_.size() - payload_bytes_;
  const ssize_t count = ::recv(socket_.get(), to, wanted, MSG_DONTWAIT);
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && errno == EAGAIN) return false;
  if (count <= 0) {
    Close();
    observer_->OnHandlerGone();
    return false;
  }
  if (in_header) {
    header_bytes_ += static_cast<size_t>(count);
    if (header_bytes_ < sizeof(header_)) return true;
    if (!CheckHeader()) return false;
    payload_.resize(static_cast<size_t>(header_.length));
    payload_bytes_ = 0;
  } else {
    payload_bytes_ += static_cast<size_t>(count);
  }
  if (payload_bytes_ == payload_.size()) OnMessage();
  return state_ != State::kClosed;
}

bool NativeChannel::CheckHeader() {
  uint64_t limit = 0;
  bool due = state_ == State::kRunning && hook_ == Hook::kNone;
  switch (header_.type) {
    case MAYFLY_NATIVE_READY:
      due = state_ == State::kStarting;
      limit = sizeof(mayfly_native_ready);
      break;
    case MAYFLY_NATIVE_ANSWER:
      if (answer_) due = false;
      limit = control::kMaxAnswer;
      break;
    case MAYFLY_NATIVE_FAILED:
      due = state_ != State::kIdle || hook_ != Hook::kNone;
      limit = kMaxFailure;
      break;
    case MAYFLY_NATIVE_DONE:
      break;
    case MAYFLY_NATIVE_HOOK_DONE:
      due = hook_ != Hook::kNone;
      break;
    default:
      due = false;
  }
  if (!due || header_.reserved != 0) {
    Break("the handler's process sent a message that was not due");
    return false;
  }
  if (header_.length <= limit) return true;
  if (header_.type == MAYFLY_NATIVE_ANSWER) {
    Close();
    observer_->OnHandlerError({"Function.ResponseSizeTooLarge",
                               "Response payload size exceeded maximum allowed payload size (" +
                                   std::to_string(control::kMaxAnswer) + " bytes)."});
  } else {
    Break("the handler's process sent a message that is too long");
  }
  return false;
}

void NativeChannel::OnMessage() {
  header_bytes_ = 0;
  std::vector<uint8_t> payload = std::exchange(payload_, {});
  switch (header_.type) {
    case MAYFLY_NATIVE_READY:
      return OnReady(payload);
    case MAYFLY_NATIVE_ANSWER:
      answer_ = std::move(payload);
      return;
    case MAYFLY_NATIVE_FAILED:
      payload_ = std::move(payload);
      return OnFailed();
    case MAYFLY_NATIVE_HOOK_DONE:
      return OnHookDone();
    default: {  // MAYFLY_NATIVE_DONE: CheckHeader() lets nothing else through.
      // Done before it has taken the whole event: the rest would be read as the next one.
      if (!output_.empty()) return Break("the handler answered before it had read its event");
      state_ = State::kIdle;
      std::vector<uint8_t> answer = answer_ ? std::move(*answer_) : std::vector<uint8_t>();
      answer_.reset();
      return observer_->OnHandlerAnswer(std::move(answer));
    }
  }
}

void NativeChannel::OnReady(std::span<const uint8_t> payload) {
  mayfly_native_ready ready{};
  if (payload.size() == sizeof(ready)) ready = LoadLe<mayfly_native_ready>(payload);
  if (ready.version != MAYFLY_NATIVE_VERSION) {
    return Break("the handler's process speaks another version of the native protocol");
  }
  hooks_ = ready.hooks;
  state_ = State::kIdle;
  observer_->OnHandlerReady();
}

void NativeChannel::OnFailed() {
  const std::vector<uint8_t> payload = std::exchange(payload_, {});
  mayfly_native_error lengths{};
  if (payload.size() < sizeof(lengths)) return Break("the handler's process sent a short message");
  lengths = LoadLe<mayfly_native_error>(payload);
  const std::string_view text = AsText(payload).substr(sizeof(lengths));
  if (uint64_t{lengths.type_length} + lengths.message_length != text.size()) {
    return Break("the handler's process sent a malformed error");
  }
  HandlerError error{std::string(text.substr(0, lengths.type_length)),
                     std::string(text.substr(lengths.type_length))};
  answer_.reset();
  // A handler that is half restored, say, takes no event.
  if (hook_ != Hook::kNone) {
    Close();
    return observer_->OnHandlerError(std::move(error));
  }
  error.reusable = true;
  if (state_ == State::kRunning) state_ = State::kIdle;
  observer_->OnHandlerError(std::move(error));
}

void NativeChannel::Break(const char* what) {
  Close();
  observer_->OnHandlerError({"Runtime.InvalidHandlerMessage", what});
}

void NativeChannel::WriteSome() {
  while (state_ != State::kClosed && !output_.empty()) {
    const size_t head_sent = std::min(output_sent_, output_.size());
    const size_t event_sent = output_sent_ - head_sent;
    const std::span<const uint8_t> event =
        output_event_ ? std::span(*output_event_) : std::span<const uint8_t>();
    std::array<iovec, 2> pieces{
        iovec{output_.data() + head_sent, output_.size() - head_sent},
        iovec{const_cast<uint8_t*>(event.data()) + event_sent, event.size() - event_sent}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    // Anything else than a full socket shows on the reading side as well, and is handled there.
    if (count < 0) break;
    output_sent_ += static_cast<size_t>(count);
    if (output_sent_ == output_.size() + event.size()) {
      output_.clear();
      output_event_.reset();
      output_sent_ = 0;
    }
  }
  if (state_ == State::kClosed || wants_output_ == !output_.empty()) return;
  wants_output_ = !wants_output_;
  CHECK(loop_->Modify(watch_, EPOLLIN | (wants_output_ ? uint32_t{EPOLLOUT} : 0u)));
}

void NativeChannel::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  if (watch_ != 0) loop_->Remove(watch_);
  socket_.Reset();
}

}  // namespace mayfly::init
