#include "vmm/zygote/jailed_function.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/file.h"

namespace mayfly {
namespace {

// Plays a zygote, and a clone that has been taken over: `says` is run with the clone's socket.
class JailedFunctionTest : public testing::Test {
 protected:
  std::unique_ptr<JailedFunction> Start(std::function<void(int)> says) {
    auto sockets = MakePacketSockets();
    zygote_ = std::move(sockets->second);
    clone_ = std::thread([this, says = std::move(says)] {
      auto request = ReceivePacket(zygote_.get());
      if (!request || !*request || (*request)->fds.empty()) return;
      const UniqueFd clone = std::move((*request)->fds.front());
      IgnoreFailure(WritePacket(clone.get(), {PacketKind::kReady, 0, {}}));
      // The head of the invocation, and its event.
      if (!ReadPacket(clone.get()) || !ReadPacket(clone.get())) return;
      says(clone.get());
    });
    // Nobody's process: waiting for it fails at once.
    auto process = std::make_shared<ZygoteProcess>(std::move(sockets->first), ::getppid());
    auto function = JailedFunction::Create(
        std::move(process), -1, [this](const LogChunk& chunk) { logged_ += chunk.text.size(); },
        nullptr);
    EXPECT_TRUE(function) << function.error().message();
    return *std::move(function);
  }
  void TearDown() override {
    if (clone_.joinable()) clone_.join();
  }

  static Result<InvocationResult> Invoke(JailedFunction& function) {
    return function.Invoke(AsBytes("event"), {"id", std::chrono::milliseconds(1000)});
  }

  UniqueFd zygote_;
  std::thread clone_;
  uint64_t logged_ = 0;
};

TEST_F(JailedFunctionTest, AnAnswerInPartsIsOne) {
  const auto function = Start([](int clone) {
    IgnoreFailure(WritePacket(clone, {PacketKind::kAnswer, 0, {}}, AsBytes("one ")));
    IgnoreFailure(WritePacket(clone, {PacketKind::kAnswer, 0, {}}, AsBytes("answer")));
    IgnoreFailure(WritePacket(clone, {PacketKind::kDone, 0, {7, 8, 9}}));
  });
  const auto result = Invoke(*function);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(AsText(result->answer), "one answer");
  EXPECT_EQ(result->handler_us, 7U);
  EXPECT_EQ(result->max_memory_bytes, 8U);
}

TEST_F(JailedFunctionTest, AHandlersErrorIsOne) {
  const auto function = Start([](int clone) {
    IgnoreFailure(WritePacket(clone, {PacketKind::kErrorType, 0, {}}, AsBytes("Runtime.X")));
    IgnoreFailure(WritePacket(clone, {PacketKind::kErrorMessage, 0, {}}, AsBytes("why")));
    IgnoreFailure(WritePacket(clone, {PacketKind::kAnswer, 0, {}}, AsBytes("{}")));
    IgnoreFailure(WritePacket(clone, {PacketKind::kDone, 0, {}}));
  });
  const auto result = Invoke(*function);
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_TRUE(result->error);
  EXPECT_EQ(result->error->type, "Runtime.X");
  EXPECT_EQ(result->error->message, "why");
  EXPECT_EQ(result->error->json, "{}");
}

TEST_F(JailedFunctionTest, AnAnswerWithoutEndIsRefused) {
  const auto function = Start([](int clone) {
    const std::vector<uint8_t> part(kMostPacketBytes);
    while (SendPacket(clone, {PacketKind::kAnswer, 0, {}}, part)) {
    }
  });
  const auto result = Invoke(*function);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
}

TEST_F(JailedFunctionTest, AnUnknownPacketEndsTheClone) {
  const auto function = Start([](int clone) {
    // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): what it is about.
    IgnoreFailure(SendPacket(clone, {static_cast<PacketKind>(99), 0, {}}));
    while (ReadPacket(clone).value_or(std::nullopt)) {  // Until the host closes its end.
    }
  });
  const auto result = Invoke(*function);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
}

TEST_F(JailedFunctionTest, APacketWithoutItsHeadIsAnError) {
  const auto function = Start([](int clone) { EXPECT_EQ(::write(clone, "x", 1), 1); });
  EXPECT_FALSE(Invoke(*function));
}

TEST_F(JailedFunctionTest, ADescriptorThatACloneSendsIsClosed) {
  const auto function = Start([](int clone) {
    IgnoreFailure(SendPacket(clone, {PacketKind::kDone, 0, {}}, {}, std::array{clone}));
  });
  EXPECT_TRUE(Invoke(*function));
}

TEST_F(JailedFunctionTest, LogsOfEveryKindAreNoAnswers) {
  const auto function = Start([](int clone) {
    IgnoreFailure(SendPacket(clone, {PacketKind::kLog, 0, {1, ~0ULL}}, AsBytes("text")));
    IgnoreFailure(SendPacket(clone, {PacketKind::kLine, 0, {~0ULL}}, AsBytes("\x1b[2J")));
    IgnoreFailure(SendPacket(clone, {PacketKind::kDone, 0, {}}));
  });
  EXPECT_TRUE(Invoke(*function));
}

// As long as it may take, and until the host closes its end.
TEST_F(JailedFunctionTest, ACloneThatLogsWithoutEndIsEnded) {
  const auto function = Start([](int clone) {
    const std::vector<uint8_t> text(kMostPacketBytes, 'x');
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end &&
           SendPacket(clone, {PacketKind::kLog, 0, {1, 1}}, text)) {
    }
    IgnoreFailure(SendPacket(clone, {PacketKind::kDone, 0, {}}));
  });
  const auto result = Invoke(*function);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
  EXPECT_LE(logged_, FunctionSession::kMaxLog);
}

TEST_F(JailedFunctionTest, AnErrorCodeThatThereIsNotIsAnError) {
  const auto function = Start([](int clone) {
    IgnoreFailure(SendPacket(clone, {PacketKind::kFailed, 0, {~0ULL}}, AsBytes("x")));
  });
  const auto result = Invoke(*function);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
}

TEST_F(JailedFunctionTest, ACloneThatEndsIsAnError) {
  const auto function = Start([](int) {});
  const auto result = Invoke(*function);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kGuest);
  EXPECT_TRUE(function->end());
}

}  // namespace
}  // namespace mayfly
