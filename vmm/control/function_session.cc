#include "vmm/control/function_session.h"

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>

#include "base/file.h"

namespace mayfly {
namespace {

using control::Frame;
using control::FrameType;

// The guest wrote this: parsed without recursion, and every member's type looked at.
rapidjson::Document ParseGuestJson(std::span<const uint8_t> payload) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(reinterpret_cast<const char*>(payload.data()),
                                                 payload.size());
  if (document.HasParseError() || !document.IsObject()) document.SetObject();
  return document;
}

std::string StringMember(const rapidjson::Document& document, const char* name,
                         const char* otherwise) {
  const auto member = document.FindMember(name);
  if (member == document.MemberEnd() || !member->value.IsString()) return otherwise;
  return {member->value.GetString(), member->value.GetStringLength()};
}

uint64_t NumberMember(const rapidjson::Document& document, const char* name) {
  const auto member = document.FindMember(name);
  return member != document.MemberEnd() && member->value.IsUint64() ? member->value.GetUint64() : 0;
}

// For a guest that says nothing, not even that its deadline has passed.
HandlerError SilenceError(const Invocation& invocation) {
  HandlerError error;
  error.type = "Function.Timeout";
  error.message = fmt::format("no answer within {} ms", invocation.timeout.count());
  error.json =
      fmt::format(R"({{"errorType":"{}","errorMessage":"{}"}})", error.type, error.message);
  return error;
}

std::string InvokeJson(const Invocation& invocation, size_t size) {
  const auto now = std::chrono::system_clock::now() + invocation.timeout;
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  writer.Key("request_id");
  writer.String(invocation.request_id.c_str());
  writer.Key("timeout_ms");
  writer.Uint64(static_cast<uint64_t>(invocation.timeout.count()));
  writer.Key("deadline_ms");
  writer.Uint64(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count()));
  writer.Key("size");
  writer.Uint64(size);
  writer.EndObject();
  return buffer.GetString();
}

std::unexpected<Error> UnexpectedFrame(const Frame& frame) {
  return Fail(ErrorCode::kGuest, fmt::format("control channel: a frame of type {} was not expected",
                                             static_cast<unsigned>(frame.type)));
}

// Of a frame that is there instead of none.
std::unexpected<Error> InitsError(const Frame& frame) {
  if (frame.type != FrameType::kError) return UnexpectedFrame(frame);
  const HandlerError error = ParseHandlerError(frame.payload);
  return Fail(ErrorCode::kHandler, fmt::format("{}: {}", error.type, error.message));
}

// The channel is as it should be, and has no frame.
bool IsNothing(const Error& error) {
  return error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kTimeout;
}

}  // namespace

HandlerError ParseHandlerError(std::span<const uint8_t> json) {
  const rapidjson::Document document = ParseGuestJson(json);
  return {StringMember(document, "errorType", "Runtime.Unknown"),
          StringMember(document, "errorMessage", ""), std::string(AsText(json))};
}

Result<bool> FunctionSession::PassOnLog(const Frame& frame) {
  if (frame.type != FrameType::kLog) return false;
  if (frame.payload.empty()) return UnexpectedFrame(frame);
  const std::string_view text =
      log_budget_.Take(AsText(std::span<const uint8_t>(frame.payload).subspan(1)));
  if (log_ && !text.empty()) {
    log_({frame.invocation, static_cast<control::LogStream>(frame.payload[0]), text});
  }
  return true;
}

Result<Frame> FunctionSession::ReceiveSkippingLogs(ControlChannel::Clock::time_point deadline) {
  while (true) {
    Frame frame = TRY(channel_->Receive(deadline));
    if (!TRY(PassOnLog(frame))) return frame;
    if (ControlChannel::Clock::now() >= deadline) {
      return Fail(ErrorCode::kTimeout, "nothing but log lines from the guest in time");
    }
  }
}

Result<void> FunctionSession::WaitHello(ControlChannel::Clock::time_point deadline) {
  log_budget_.Reset();
  const Frame hello = TRY(ReceiveSkippingLogs(deadline));
  if (hello.type != FrameType::kHello) return UnexpectedFrame(hello);
  const uint64_t version = NumberMember(ParseGuestJson(hello.payload), "version");
  if (version != control::kVersion) {
    return Fail(ErrorCode::kGuest,
                fmt::format("the guest's init speaks version {} of the control protocol, this "
                            "mayfly version {}",
                            version, control::kVersion));
  }
  return {};
}

Result<void> FunctionSession::Load(const std::string& description,
                                   std::chrono::milliseconds timeout) {
  if (description.size() > control::kMaxPayload) {
    return Fail(ErrorCode::kTooLarge, "function: its description does not fit into one frame");
  }
  const auto deadline = ControlChannel::Clock::now() + timeout;
  log_budget_.Reset();
  TRY(channel_->Send(FrameType::kLoad, 0, AsBytes(description)));
  const Frame ready = TRY(ReceiveSkippingLogs(deadline));
  if (ready.type == FrameType::kError) {
    const HandlerError error = ParseHandlerError(ready.payload);
    return Fail(ErrorCode::kHandler, fmt::format("{}: {}", error.type, error.message));
  }
  if (ready.type != FrameType::kReady) return UnexpectedFrame(ready);
  ready_json_ = AsText(ready.payload);
  const rapidjson::Document document = ParseGuestJson(ready.payload);
  const auto awaits = document.FindMember("awaits_restore");
  awaits_restore_ = awaits != document.MemberEnd() && awaits->value.IsTrue();
  return {};
}

Result<InvocationResult> FunctionSession::Invoke(std::span<const uint8_t> event,
                                                 const Invocation& invocation) {
  if (event.size() > control::kMaxEvent) {
    return Fail(ErrorCode::kTooLarge,
                fmt::format("event: {} bytes, the limit is {}", event.size(), control::kMaxEvent));
  }
  const auto start = ControlChannel::Clock::now();
  const uint64_t id = ++last_invocation_;
  log_budget_.Reset();
  TRY(channel_->Send(FrameType::kInvoke, id, AsBytes(InvokeJson(invocation, event.size()))));
  while (!event.empty()) {
    const auto chunk = event.first(std::min<size_t>(event.size(), control::kMaxPayload));
    TRY(channel_->Send(FrameType::kChunk, id, chunk));
    event = event.subspan(chunk.size());
  }
  auto result = TRY(ReceiveResult(invocation, start));
  result.log_dropped_bytes += log_budget_.dropped();
  result.total = ControlChannel::Clock::now() - start;
  return result;
}

Result<InvocationResult> FunctionSession::ReceiveResult(const Invocation& invocation,
                                                        ControlChannel::Clock::time_point start) {
  const auto deadline = start + invocation.timeout + kGrace;
  InvocationResult result;
  while (true) {
    Result<Frame> received = ReceiveSkippingLogs(deadline);
    if (!received && received.error().code() == ErrorCode::kTimeout) {
      result.error = SilenceError(invocation);
      return result;
    }
    Frame frame = TRY(std::move(received));
    if (frame.type == FrameType::kError && frame.invocation == 0) {
      // A further life of the machine that could not begin.
      const HandlerError error = ParseHandlerError(frame.payload);
      return Fail(ErrorCode::kGuest, fmt::format("{}: {}", error.type, error.message));
    }
    // An answer to anything but what was asked is a guest that cannot be trusted any further.
    if (frame.invocation != last_invocation_) return UnexpectedFrame(frame);
    switch (frame.type) {
      case FrameType::kChunk:
        if (frame.payload.size() > control::kMaxAnswer - result.answer.size()) {
          return Fail(ErrorCode::kGuest, "the guest sent more answer than is allowed");
        }
        result.answer.insert(result.answer.end(), frame.payload.begin(), frame.payload.end());
        // An answer has an end, at some time.
        if (ControlChannel::Clock::now() < deadline) break;
        result.error = SilenceError(invocation);
        return result;
      case FrameType::kError:
        result.error = ParseHandlerError(frame.payload);
        return result;
      case FrameType::kDone: {
        const rapidjson::Document document = ParseGuestJson(frame.payload);
        result.handler_us = NumberMember(document, "duration_us");
        result.max_memory_bytes = NumberMember(document, "max_memory_bytes");
        result.log_dropped_bytes = NumberMember(document, "log_dropped_bytes");
        return result;
      }
      default:
        return UnexpectedFrame(frame);
    }
  }
}

Result<void> FunctionSession::WaitIdle(ControlChannel::Clock::time_point deadline) {
  const Result<Frame> frame = ReceiveSkippingLogs(deadline);
  if (frame) return InitsError(*frame);
  return IsNothing(frame.error()) ? Result<void>() : std::unexpected(frame.error());
}

Result<void> FunctionSession::TakeRest() {
  while (true) {
    const Result<Frame> frame = channel_->Receive(ControlChannel::Clock::now());
    if (!frame) return IsNothing(frame.error()) ? Result<void>() : std::unexpected(frame.error());
    if (!TRY(PassOnLog(*frame))) return InitsError(*frame);
  }
}

Result<void> FunctionSession::Shutdown() { return channel_->Send(FrameType::kShutdown, 0, {}); }

}  // namespace mayfly
