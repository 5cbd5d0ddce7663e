#include "guest-init/runtime_api.h"

#include <algorithm>
#include <array>

#include "base/control_protocol.h"
#include "base/file.h"
#include "guest-init/base64.h"
#include "guest-init/json.h"

namespace mayfly::init {
namespace {

constexpr std::string_view kPrefix = "/2018-06-01/";
constexpr std::string_view kInvocationPrefix = "runtime/invocation/";
// A GET has no body; whoever sends one has it thrown away.
constexpr uint64_t kNoBody = 0;

HttpResponse InvalidState() {
  return ErrorResponse(403, "InvalidStateTransition", "Transition is not allowed");
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// What the handler's error document and the headers around it say, in the form that goes out.
HandlerError ErrorFrom(std::string_view header_type, std::vector<uint8_t> document) {
  HandlerError error{NormalizedErrorType(header_type), ""};
  error.reusable = true;
  if (const auto json = JsonObject::Parse(document, "error document")) {
    const std::string type = json->String("errorType").value_or("");
    if (!type.empty()) error.type = type;
    error.message = json->String("errorMessage").value_or("");
    error.stack_trace = json->ArrayText("stackTrace");
  }
  error.document = std::move(document);
  return error;
}

}  // namespace

std::string NormalizedErrorType(std::string_view type) {
  for (const std::string_view prefix : {"Runtime.", "Function."}) {
    if (!type.starts_with(prefix)) continue;
    const std::string_view name = type.substr(prefix.size());
    const bool valid =
        name.size() >= 2 && name[0] >= 'A' && name[0] <= 'Z' && std::ranges::all_of(name, IsLetter);
    return valid ? std::string(type) : std::string(prefix) + "Unknown";
  }
  return type.empty() ? "Function.Unknown" : "Runtime.Unknown";
}

RuntimeApi::Call RuntimeApi::CallOf(std::string_view target, std::string_view& request_id) {
  target = target.substr(0, target.find('?'));
  if (!target.starts_with(kPrefix)) return Call::kUnknown;
  target.remove_prefix(kPrefix.size());
  if (target == "ping") return Call::kPing;
  if (target == "runtime/init/error") return Call::kInitError;
  if (target == "runtime/restore/next") return Call::kRestoreNext;
  if (target == "runtime/restore/error") return Call::kRestoreError;
  if (target == "runtime/invocation/next") return Call::kNext;
  if (!target.starts_with(kInvocationPrefix)) return Call::kUnknown;
  target.remove_prefix(kInvocationPrefix.size());
  const size_t slash = target.find('/');
  if (slash == std::string_view::npos) return Call::kUnknown;
  request_id = target.substr(0, slash);
  const std::string_view what = target.substr(slash + 1);
  return what == "response" ? Call::kResponse : what == "error" ? Call::kError : Call::kUnknown;
}

bool RuntimeApi::IsDue(Call call) const {
  switch (call) {
    case Call::kNext:
      return state_ != State::kRestorable;
    case Call::kResponse:
    case Call::kError:
      return state_ == State::kRunning;
    case Call::kInitError:
      return state_ == State::kStarted && !answering_;
    case Call::kRestoreNext:
      return snapshot_ && (state_ == State::kStarted || state_ == State::kRestorable);
    case Call::kRestoreError:
      return state_ == State::kRestoring && !answering_;
    default:
      return true;
  }
}

std::optional<HttpResponse> RuntimeApi::RefusalFor(Call call, std::string_view method,
                                                   std::string_view request_id,
                                                   const HttpRequest& request) const {
  if (call == Call::kUnknown) return ErrorResponse(404, "NotFound", "no such resource");
  const bool is_get = call == Call::kNext || call == Call::kRestoreNext || call == Call::kPing;
  if (method != (is_get ? "GET" : "POST")) {
    return ErrorResponse(405, "MethodNotAllowed", "the resource does not have this method");
  }
  if (!IsDue(call)) return InvalidState();
  if (call != Call::kResponse && call != Call::kError) return std::nullopt;
  if (request_id != invocation_->request_id) {
    return ErrorResponse(400, "InvalidRequestID", "Invalid request ID");
  }
  if (answering_) return InvalidState();
  const std::string_view mode = request.Header("Lambda-Runtime-Function-Response-Mode");
  if (call == Call::kResponse && !mode.empty() && mode != "streaming" && mode != "buffered") {
    return ErrorResponse(400, "InvalidFunctionResponseMode", "Invalid function response mode");
  }
  return std::nullopt;
}

HttpService::Head RuntimeApi::OnHead(ConnectionId connection, const HttpRequest& request) {
  std::string_view request_id;
  const Call call = CallOf(request.target, request_id);
  Head head;
  head.refusal = RefusalFor(call, request.method, request_id, request);
  if (head.refusal) return head;
  head.body_limit = kNoBody;
  if (call == Call::kResponse || call == Call::kError || call == Call::kInitError ||
      call == Call::kRestoreError) {
    head.body_limit = control::kMaxAnswer;
    answering_ = connection;
  }
  return head;
}

void RuntimeApi::OnRequest(ConnectionId connection, HttpRequest request) {
  std::string_view request_id;
  const Call call = CallOf(request.target, request_id);
  switch (call) {
    case Call::kNext:
      return OnNext(connection);
    case Call::kRestoreNext:
      return OnRestoreNext(connection);
    case Call::kResponse:
      return OnResponse(connection, std::move(request));
    case Call::kError:
    case Call::kInitError:
    case Call::kRestoreError:
      return OnError(connection, call, std::move(request));
    default:
      return server_.Respond(connection, StatusOk(200));
  }
}

HttpResponse RuntimeApi::OnBadBody(ConnectionId connection, const HttpRequest& /*request*/,
                                   BadBody what) {
  const bool was_answer = answering_ == connection;
  if (was_answer) answering_.reset();
  if (what == BadBody::kTruncated) {
    return ErrorResponse(400, "TruncatedHTTPRequest", "HTTP request ended before its body did");
  }
  if (was_answer && state_ == State::kRunning) {
    state_ = State::kWaiting;
    invocation_.reset();
    HandlerError error{"Function.ResponseSizeTooLarge",
                       "Response payload size exceeded maximum allowed payload size (" +
                           std::to_string(control::kMaxAnswer) + " bytes)."};
    error.reusable = true;
    observer_->OnHandlerError(std::move(error));
  }
  return ErrorResponse(
      413, "RequestEntityTooLarge",
      "Exceeded maximum allowed payload size (" + std::to_string(control::kMaxAnswer) + " bytes).");
}

void RuntimeApi::OnClosed(ConnectionId connection) {
  std::erase(waiting_, connection);
  std::erase(restorable_, connection);
  if (answering_ == connection) {
    answering_.reset();
    if (state_ == State::kRunning) DeliverToWaiting();
  }
}

void RuntimeApi::OnNext(ConnectionId connection) {
  waiting_.push_back(connection);
  if (state_ == State::kStarted) {
    state_ = State::kWaiting;
    observer_->OnHandlerReady();
  } else if (state_ == State::kRestoring) {
    state_ = State::kWaiting;
  }
  DeliverToWaiting();
  TellIfPrepared();
}

void RuntimeApi::OnRestoreNext(ConnectionId connection) {
  restorable_.push_back(connection);
  if (state_ == State::kStarted) {
    state_ = State::kRestorable;
    observer_->OnHandlerReady();
  }
  TellIfPrepared();
}

bool RuntimeApi::at_rest() const {
  return (state_ == State::kWaiting && !waiting_.empty()) || !restorable_.empty();
}

bool RuntimeApi::PrepareSnapshot() {
  preparing_ = !at_rest();
  return !preparing_;
}

void RuntimeApi::TellIfPrepared() {
  if (!preparing_ || !at_rest()) return;
  preparing_ = false;
  observer_->OnHandlerPrepared();
}

void RuntimeApi::Restored() {
  if (state_ == State::kRestorable) state_ = State::kRestoring;
  for (const ConnectionId connection : std::exchange(restorable_, {})) {
    server_.Respond(connection, HttpResponse{});
  }
}

void RuntimeApi::Deliver(const Invocation& invocation) {
  invocation_ = invocation;
  DeliverToWaiting();
}

void RuntimeApi::DeliverToWaiting() {
  const bool can_deliver = state_ == State::kWaiting || state_ == State::kRunning;
  if (!can_deliver || !invocation_ || answering_ || waiting_.empty()) return;
  const ConnectionId connection = waiting_.front();
  waiting_.pop_front();
  state_ = State::kRunning;
  server_.Respond(connection, RenderEvent());
}

HttpResponse RuntimeApi::RenderEvent() const {
  HttpResponse response;
  response.content_type = "application/json";
  response.body = invocation_->event;
  const std::array<std::pair<const char*, std::string>, 6> fields{{
      {"Lambda-Runtime-Aws-Request-Id", invocation_->request_id},
      {"Lambda-Runtime-Deadline-Ms", std::to_string(invocation_->deadline_ms)},
      {"Lambda-Runtime-Invoked-Function-Arn", invocation_->function_arn},
      {"Lambda-Runtime-Trace-Id", invocation_->trace_id},
      {"Lambda-Runtime-Client-Context", invocation_->client_context},
      {"Lambda-Runtime-Cognito-Identity", invocation_->cognito_identity},
  }};
  for (const auto& [name, value] : fields) {
    if (!value.empty()) response.headers.emplace_back(name, value);
  }
  return response;
}

void RuntimeApi::OnResponse(ConnectionId connection, HttpRequest request) {
  answering_.reset();
  state_ = State::kWaiting;
  invocation_.reset();
  server_.Respond(connection, StatusOk(202));
  const std::string_view error_type = request.Trailer("Lambda-Runtime-Function-Error-Type");
  if (error_type.empty()) return observer_->OnHandlerAnswer(std::move(request.body));
  // A streaming handler failed after it had begun to answer.
  observer_->OnHandlerError(
      ErrorFrom(error_type, DecodeBase64(request.Trailer("Lambda-Runtime-Function-Error-Body"))));
}

void RuntimeApi::OnError(ConnectionId connection, Call call, HttpRequest request) {
  answering_.reset();
  state_ = call == Call::kError ? State::kWaiting : State::kFailed;
  invocation_.reset();
  server_.Respond(connection, StatusOk(202));
  const std::string_view type = request.Header("Lambda-Runtime-Function-Error-Type");
  HandlerError error = ErrorFrom(type, std::move(request.body));
  error.reusable = call == Call::kError;
  if (call == Call::kRestoreError) {
    error.type = type.empty() ? "Runtime.AfterRestoreError" : NormalizedErrorType(type);
  }
  observer_->OnHandlerError(std::move(error));
}

}  // namespace mayfly::init
