#include "guest-init/runtime_api.h"

#include <gtest/gtest.h>

#include "base/control_protocol.h"
#include "tests/unit/guest-init/loop_test_support.h"

namespace mayfly::init {
namespace {

constexpr char kNext[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr char kRestoreNext[] = "GET /2018-06-01/runtime/restore/next HTTP/1.1\r\n\r\n";
constexpr char kPing[] = "GET /2018-06-01/ping HTTP/1.1\r\n\r\n";

std::string Post(const std::string& path, std::string_view body, const std::string& headers = "") {
  return "POST /2018-06-01/runtime/" + path + " HTTP/1.1\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

class RuntimeApiTest : public testing::Test {
 protected:
  explicit RuntimeApiTest(bool snapshot = false) : api_(loop_.get(), &observer_, snapshot) {}

  // A runtime's connection; what it has received is in `received`.
  class Client {
   public:
    Client(EventLoop* loop, UniqueFd socket) : loop_(loop), socket_(std::move(socket)) {}

    void Send(std::string_view text) {
      while (!text.empty()) {
        const ssize_t count =
            ::send(socket_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) text.remove_prefix(static_cast<size_t>(count));
        RunUntil(*loop_, [turn = 0]() mutable { return turn++ > 0; });
      }
    }
    // The next response: its status line, headers, and body. Empty if there is
    // none for 30 ms.
    std::string Receive() {
      std::string response;
      const auto complete = [&] { return Take(response); };
      const auto end = EventLoop::Clock::now() + std::chrono::milliseconds(30);
      RunUntil(*loop_,
               [&] { return complete() || (received_.empty() && EventLoop::Clock::now() > end); });
      return response;
    }
    bool AtEnd() {
      char byte = 0;
      return RunUntil(*loop_, [&] { return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT) == 0; });
    }
    void CloseWriting() { ::shutdown(socket_.get(), SHUT_WR); }
    void Close() { socket_.Reset(); }

   private:
    bool Take(std::string& response) {
      std::array<char, 65536> buffer;
      const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count > 0) received_.append(buffer.data(), static_cast<size_t>(count));
      const size_t head = received_.find("\r\n\r\n");
      const size_t field = received_.find("Content-Length: ");
      if (head == std::string::npos) return false;
      const size_t length = field < head ? std::stoul(received_.substr(field + 16)) : 0;
      if (received_.size() < head + 4 + length) return false;
      response = received_.substr(0, head + 4 + length);
      received_.erase(0, response.size());
      return true;
    }

    EventLoop* loop_;
    UniqueFd socket_;
    std::string received_;
  };

  Client Connect() {
    SocketPair pair = MakeSocketPair();
    EXPECT_TRUE(api_.server().Adopt(std::move(pair.theirs)));
    return {loop_.get(), std::move(pair.ours)};
  }
  // A client that has been given the event "hello" under the id "r1".
  Client ConnectAndTake() {
    Client client = Connect();
    client.Send(kNext);
    api_.Deliver(MakeInvocation("r1", "hello"));
    EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nhello"));
    return client;
  }

  std::unique_ptr<EventLoop> loop_ = MakeLoop();
  RecordingObserver observer_;
  RuntimeApi api_;
};

// In a machine that will be snapshotted.
class RestorableRuntimeApiTest : public RuntimeApiTest {
 protected:
  RestorableRuntimeApiTest() : RuntimeApiTest(/*snapshot=*/true) {}

  // A client that was told of its restore and has not asked for an event yet.
  Client ConnectAndRestore() {
    Client client = Connect();
    client.Send(kRestoreNext);
    EXPECT_EQ(client.Receive(), "");
    EXPECT_TRUE(api_.PrepareSnapshot());
    api_.Restored();
    EXPECT_EQ(client.Receive(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    return client;
  }
};

TEST_F(RuntimeApiTest, EarlyNextWaitsForTheEvent) {
  Client client = Connect();
  client.Send(kNext);
  EXPECT_EQ(client.Receive(), "");
  EXPECT_EQ(observer_.ready, 1);
  api_.Deliver(MakeInvocation("r1", "hello"));
  EXPECT_EQ(client.Receive(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            "Lambda-Runtime-Aws-Request-Id: r1\r\nLambda-Runtime-Deadline-Ms: "
            "1234\r\n"
            "Content-Length: 5\r\n\r\nhello");
}

TEST_F(RuntimeApiTest, EventWaitsForNext) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/response", "a"));
  client.Receive();
  api_.Deliver(MakeInvocation("r2", "second"));
  EXPECT_EQ(client.Receive(), "");
  client.Send(kNext);
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nsecond"));
  EXPECT_EQ(observer_.ready, 1);
}

TEST_F(RuntimeApiTest, RepeatedNextGivesTheSameEvent) {
  Client client = ConnectAndTake();
  client.Send(kNext);
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nhello"));
  Client other = Connect();
  other.Send(kNext);
  EXPECT_TRUE(other.Receive().ends_with("\r\n\r\nhello"));
}

TEST_F(RuntimeApiTest, ResponseIsTheAnswer) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/response", "world"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.answers.size(), 1U);
  EXPECT_EQ(AsText(observer_.answers[0]), "world");
}

TEST_F(RuntimeApiTest, ChunkedResponseIsTheAnswer) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\n"
      "Lambda-Runtime-Function-Response-Mode: "
      "streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nwor\r\n2\r\nld\r\n0\r\n\r\n");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.answers.size(), 1U);
  EXPECT_EQ(AsText(observer_.answers[0]), "world");
}

TEST_F(RuntimeApiTest, ErrorInTrailersIsTheError) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r1/response "
      "HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
      "Trailer: Lambda-Runtime-Function-Error-Type\r\n"
      "Trailer: Lambda-Runtime-Function-Error-Body\r\n\r\n3\r\nwor\r\n0\r\n"
      "Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n"
      "Lambda-Runtime-Function-Error-Body: "
      "eyJlcnJvck1lc3NhZ2UiOiJtIn0=\r\n\r\n");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "Runtime.StreamError");
  EXPECT_EQ(observer_.errors[0].message, "m");
}

TEST_F(RuntimeApiTest, NextDuringAResponseWaitsForItsEnd) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r1/response "
      "HTTP/1.1\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nwor\r\n");
  Client other = Connect();
  other.Send(kNext);
  EXPECT_EQ(other.Receive(), "");
  client.Send("0\r\n\r\n");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  EXPECT_EQ(other.Receive(), "");
  api_.Deliver(MakeInvocation("r2", "second"));
  EXPECT_TRUE(other.Receive().ends_with("\r\n\r\nsecond"));
}

TEST_F(RuntimeApiTest, ErrorDocumentIsForwardedAsItIs) {
  Client client = ConnectAndTake();
  const std::string document =
      "{\"errorMessage\":\"no\", "
      "\"errorType\":\"ValueError\",\"stackTrace\":[\"a\",\"b\"]}";
  client.Send(Post("invocation/r1/error", document,
                   "Lambda-Runtime-Function-Error-Type: Function.ValueError\r\n"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "ValueError");
  EXPECT_EQ(observer_.errors[0].message, "no");
  EXPECT_EQ(observer_.errors[0].stack_trace, "[\"a\",\"b\"]");
  EXPECT_EQ(AsText(observer_.errors[0].document), document);
  EXPECT_TRUE(observer_.errors[0].reusable);
}

TEST_F(RuntimeApiTest, ErrorWithoutADocumentHasTheHeadersType) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/error", "not json",
                   "Lambda-Runtime-Function-Error-Type: Function.Odd1\r\n"));
  client.Receive();
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "Function.Unknown");
}

TEST_F(RuntimeApiTest, InitErrorEndsTheStart) {
  Client client = Connect();
  client.Send(Post("init/error", "{\"errorMessage\":\"m\",\"errorType\":\"ImportError\"}"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  EXPECT_EQ(observer_.ready, 0);
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "ImportError");
}

TEST_F(RuntimeApiTest, InitErrorAfterTheStartIsForbidden) {
  Client client = ConnectAndTake();
  client.Send(Post("init/error", "{}"));
  const std::string response = client.Receive();
  EXPECT_TRUE(response.starts_with("HTTP/1.1 403 "));
  EXPECT_NE(response.find("\"errorType\":\"InvalidStateTransition\""), std::string::npos);
}

TEST_F(RuntimeApiTest, ResponseToAnotherIdIsRefused) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r2/response", "x"));
  const std::string response = client.Receive();
  EXPECT_TRUE(response.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(response.find("\"errorType\":\"InvalidRequestID\""), std::string::npos);
  client.Send(Post("invocation/r1/response", "right"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
}

TEST_F(RuntimeApiTest, SecondResponseIsForbidden) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/response", "one"));
  client.Receive();
  client.Send(Post("invocation/r1/response", "two"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 403 "));
  EXPECT_EQ(observer_.answers.size(), 1U);
}

TEST_F(RuntimeApiTest, ResponseBeforeAnyEventIsForbidden) {
  Client client = Connect();
  client.Send(Post("invocation/r1/response", "x"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 403 "));
}

TEST_F(RuntimeApiTest, SecondResponseAtTheSameTimeIsForbidden) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\n"
      "Content-Length: 5\r\n\r\nwo");
  Client other = Connect();
  other.Send(Post("invocation/r1/response", "mine"));
  EXPECT_TRUE(other.Receive().starts_with("HTTP/1.1 403 "));
  client.Send("rld");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.answers.size(), 1U);
  EXPECT_EQ(AsText(observer_.answers[0]), "world");
}

TEST_F(RuntimeApiTest, ResponseOfExactlyTheLimitIsTaken) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/response", std::string(control::kMaxAnswer, 'x')));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.answers.size(), 1U);
  EXPECT_EQ(observer_.answers[0].size(), control::kMaxAnswer);
}

TEST_F(RuntimeApiTest, LongerResponseIsTooLarge) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/response", std::string(control::kMaxAnswer + 1, 'x')));
  const std::string response = client.Receive();
  EXPECT_TRUE(response.starts_with("HTTP/1.1 413 "));
  EXPECT_NE(response.find("\"errorType\":\"RequestEntityTooLarge\""), std::string::npos);
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "Function.ResponseSizeTooLarge");
  client.Send(kPing);
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 200 "));
}

TEST_F(RuntimeApiTest, UnknownResponseModeIsRefused) {
  Client client = ConnectAndTake();
  client.Send(
      Post("invocation/r1/response", "x", "Lambda-Runtime-Function-Response-Mode: backwards\r\n"));
  const std::string response = client.Receive();
  EXPECT_TRUE(response.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(response.find("InvalidFunctionResponseMode"), std::string::npos);
}

TEST_F(RuntimeApiTest, TruncatedBodyIsRefusedAndTheInvocationGoesOn) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\n"
      "Content-Length: 5\r\n\r\nwo");
  client.CloseWriting();
  const std::string response = client.Receive();
  EXPECT_TRUE(response.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(response.find("TruncatedHTTPRequest"), std::string::npos);
  EXPECT_TRUE(client.AtEnd());
  Client other = Connect();
  other.Send(kNext);
  EXPECT_TRUE(other.Receive().ends_with("\r\n\r\nhello"));
}

TEST_F(RuntimeApiTest, ExpectContinueIsAnsweredBeforeTheBody) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\n"
      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(client.Receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("world");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
}

TEST_F(RuntimeApiTest, ExpectOnARefusedRequestIsRefusedAtOnce) {
  Client client = ConnectAndTake();
  client.Send(
      "POST /2018-06-01/runtime/invocation/r2/response HTTP/1.1\r\n"
      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(RuntimeApiTest, PipelinedRequestsAreAnsweredInOrder) {
  Client client = Connect();
  client.Send(std::string(kPing) + "GET /nowhere HTTP/1.1\r\n\r\n" + kPing);
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 200 "));
}

TEST_F(RuntimeApiTest, RequestBehindAWaitingNextWaitsToo) {
  Client client = Connect();
  client.Send(std::string(kNext) + kPing);
  EXPECT_EQ(client.Receive(), "");
  api_.Deliver(MakeInvocation("r1", "hello"));
  EXPECT_TRUE(client.Receive().ends_with("hello"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 200 "));
}

TEST_F(RuntimeApiTest, WrongMethodIsNotAllowed) {
  Client client = Connect();
  client.Send(
      "POST /2018-06-01/runtime/invocation/next "
      "HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 405 "));
}

TEST_F(RuntimeApiTest, GarbageIsRefusedAndTheConnectionClosed) {
  Client client = Connect();
  client.Send("\x16\x03\x01 what\r\n\r\n");
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(RuntimeApiTest, NextOfAClientThatLeftIsForgotten) {
  Client gone = Connect();
  gone.Send(kNext);
  gone.Close();
  Client client = Connect();
  client.Send(kNext);
  api_.Deliver(MakeInvocation("r1", "hello"));
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nhello"));
}

TEST_F(RuntimeApiTest, RestoreNextIsForbiddenWithoutASnapshot) {
  Client client = Connect();
  client.Send(kRestoreNext);
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 403 "));
  EXPECT_EQ(observer_.ready, 0);
}

TEST_F(RestorableRuntimeApiTest, RestoreNextIsReadyAndWaitsForTheRestore) {
  Client client = Connect();
  client.Send(kRestoreNext);
  EXPECT_EQ(client.Receive(), "");
  EXPECT_EQ(observer_.ready, 1);
  EXPECT_TRUE(api_.awaits_restore());
  api_.Restored();
  EXPECT_EQ(client.Receive(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(api_.awaits_restore());
}

TEST_F(RestorableRuntimeApiTest, EventWaitsForTheRuntimesHooks) {
  Client client = ConnectAndRestore();
  api_.Deliver(MakeInvocation("r1", "hello"));
  EXPECT_EQ(client.Receive(), "");
  client.Send(kNext);
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nhello"));
  EXPECT_EQ(observer_.ready, 1);
}

TEST_F(RestorableRuntimeApiTest, RestoreErrorEndsTheHandler) {
  Client client = ConnectAndRestore();
  client.Send(Post("restore/error", "{\"errorMessage\":\"m\",\"errorType\":\"ValueError\"}"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 202 "));
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "Runtime.AfterRestoreError");
  EXPECT_EQ(observer_.errors[0].message, "m");
  EXPECT_FALSE(observer_.errors[0].reusable);
}

TEST_F(RestorableRuntimeApiTest, RestoreErrorHasItsHeadersType) {
  Client client = ConnectAndRestore();
  client.Send(
      Post("restore/error", "{}", "Lambda-Runtime-Function-Error-Type: Function.Stale\r\n"));
  client.Receive();
  ASSERT_EQ(observer_.errors.size(), 1U);
  EXPECT_EQ(observer_.errors[0].type, "Function.Stale");
}

TEST_F(RestorableRuntimeApiTest, RestoreCallsOutOfTurnAreForbidden) {
  Client client = Connect();
  client.Send(Post("restore/error", "{}"));
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 403 "));
  client.Send(kRestoreNext);
  Client other = Connect();
  other.Send(kNext);
  EXPECT_TRUE(other.Receive().starts_with("HTTP/1.1 403 "));
  api_.Restored();
  EXPECT_TRUE(client.Receive().starts_with("HTTP/1.1 200 "));
  client.Send(kNext);
  other.Send(kRestoreNext);
  EXPECT_TRUE(other.Receive().starts_with("HTTP/1.1 403 "));
  EXPECT_EQ(observer_.errors.size(), 0U);
}

TEST_F(RestorableRuntimeApiTest, RuntimeWithoutHooksGoesStraightToItsEvents) {
  Client client = Connect();
  client.Send(kNext);
  EXPECT_EQ(client.Receive(), "");
  EXPECT_FALSE(api_.awaits_restore());
  EXPECT_TRUE(api_.PrepareSnapshot());
  api_.Restored();
  api_.Deliver(MakeInvocation("r1", "hello"));
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nhello"));
}

TEST_F(RestorableRuntimeApiTest, SnapshotWaitsForTheRuntimesNextCall) {
  Client client = ConnectAndTake();
  client.Send(Post("invocation/r1/response", "world"));
  client.Receive();
  EXPECT_FALSE(api_.PrepareSnapshot());
  EXPECT_EQ(observer_.prepared, 0);
  client.Send(kNext);
  EXPECT_EQ(client.Receive(), "");
  EXPECT_EQ(observer_.prepared, 1);
}

TEST(NormalizedErrorTypeTest, OnlyTheDocumentedFormPasses) {
  EXPECT_EQ(NormalizedErrorType("Runtime.ExitError"), "Runtime.ExitError");
  EXPECT_EQ(NormalizedErrorType("Function.Mine"), "Function.Mine");
  EXPECT_EQ(NormalizedErrorType("Function.mine"), "Function.Unknown");
  EXPECT_EQ(NormalizedErrorType("Runtime."), "Runtime.Unknown");
  EXPECT_EQ(NormalizedErrorType("Runtime.A\r\nB"), "Runtime.Unknown");
  EXPECT_EQ(NormalizedErrorType("ValueError"), "Runtime.Unknown");
  EXPECT_EQ(NormalizedErrorType(""), "Function.Unknown");
}

}  // namespace
}  // namespace mayfly::init
