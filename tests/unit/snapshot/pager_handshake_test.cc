#include "snapshot/pager_handshake.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>

#include "base/file.h"
#include "base/json.h"
#include "snapshot/userfaultfd.h"

namespace mayfly {
namespace {

constexpr uint64_t kImage = 1 << 20;

class PagerHandshakeTest : public testing::Test {
 protected:
  PagerHandshakeTest() {
    std::array<int, 2> sockets{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
    machine_.Reset(sockets[0]);
    pager_.Reset(sockets[1]);
  }

  static ErrorCode Refusal(std::string_view text) {
    const auto handshake = PagerHandshake::Parse(text, kImage);
    return handshake ? ErrorCode::kHost : handshake.error().code();
  }

  UniqueFd machine_;
  UniqueFd pager_;
};

TEST_F(PagerHandshakeTest, RegionsAreWrittenAsFirecrackersHandlersReadThem) {
  PagerHandshake handshake{{{0x7f0000000000, 0x2000, 0}, {0x7f8000000000, 0x1000, 0x2000}}};
  EXPECT_EQ(handshake.Encode(),
            "[{\"base_host_virt_addr\":139637976727552,\"size\":8192,\"offset\":0,"
            "\"page_size\":4096,\"page_size_kib\":4096},"
            "{\"base_host_virt_addr\":140187732541440,\"size\":4096,\"offset\":8192,"
            "\"page_size\":4096,\"page_size_kib\":4096}]");
}

TEST_F(PagerHandshakeTest, IsReadAsItWasWritten) {
  const PagerHandshake handshake{{{0x1000, 0x2000, 0}, {0x100000, 0x1000, 0x2000}}, "abcd"};
  const auto parsed = PagerHandshake::Parse(handshake.Encode(), kImage);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->regions, handshake.regions);
  EXPECT_EQ(parsed->snapshot, "abcd");
}

TEST_F(PagerHandshakeTest, ItFitsWhereFirecrackersHandlersReadIt) {
  const std::string digest(64, 'a');
  const uint64_t most = 1ULL << 46;
  const PagerHandshake handshake{{{most, most, most}, {most, most, most}}, digest};
  EXPECT_LE(handshake.Encode().size(), 1024);
}

TEST_F(PagerHandshakeTest, FirecrackersRegionsAreRead) {
  const auto parsed = PagerHandshake::Parse(
      R"([{"base_host_virt_addr":4096,"size":4096,"offset":0,"page_size":4096}])", kImage);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->regions, (std::vector<PagedRegion>{{4096, 4096, 0}}));
}

TEST_F(PagerHandshakeTest, RegionsThatAreNotInTheImageAreRefused) {
  EXPECT_EQ(Refusal(R"([{"base_host_virt_addr":0,"size":1052672,"offset":0}])"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal(R"([{"base_host_virt_addr":0,"size":8192,"offset":1044480}])"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal(R"([{"base_host_virt_addr":0,"size":4096,"offset":1152921504606842880}])"),
            ErrorCode::kInvalidArgument);
}

TEST_F(PagerHandshakeTest, BadRegionsAreRefused) {
  EXPECT_EQ(Refusal(R"([{"base_host_virt_addr":1,"size":4096,"offset":0}])"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal(R"([{"base_host_virt_addr":0,"size":100,"offset":0}])"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal(R"([{"base_host_virt_addr":0,"size":-4096,"offset":0}])"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal(R"([{"size":4096,"offset":0}])"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal(R"({"size":4096})"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Refusal("]"), ErrorCode::kInvalidArgument);
}

TEST_F(PagerHandshakeTest, TheDescriptorComesWithTheText) {
  const auto uffd = Userfaultfd::Create();
  if (!uffd) GTEST_SKIP() << uffd.error().message();
  ASSERT_TRUE(SendToPager(machine_.get(), "[]", uffd->fd()));
  auto received = ReceiveFromMachine(pager_.get(), std::chrono::seconds(60));
  ASSERT_TRUE(received) << received.error().message();
  EXPECT_EQ(received->text, "[]");
  EXPECT_TRUE(Userfaultfd::Adopt(std::move(received->uffd)));
}

TEST_F(PagerHandshakeTest, AnotherDescriptorIsRefused) {
  ASSERT_TRUE(SendToPager(machine_.get(), "[]", machine_.get()));
  auto received = ReceiveFromMachine(pager_.get(), std::chrono::seconds(60));
  ASSERT_TRUE(received) << received.error().message();
  const auto adopted = Userfaultfd::Adopt(std::move(received->uffd));
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(PagerHandshakeTest, AMachineThatSaysNothingIsNotWaitedFor) {
  const auto received = ReceiveFromMachine(pager_.get(), std::chrono::milliseconds(1));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), ErrorCode::kTimeout);
}

TEST_F(PagerHandshakeTest, AMachineThatHangsUpIsNotWaitedFor) {
  machine_.Reset();
  const auto received = ReceiveFromMachine(pager_.get(), std::chrono::seconds(60));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), ErrorCode::kCancelled);
}

TEST_F(PagerHandshakeTest, EndlessTextIsRefused) {
  const std::string text(PagerHandshake::kMostBytes, ' ');
  ASSERT_TRUE(WriteAll(machine_.get(), AsBytes(text), "socket"));
  const auto received = ReceiveFromMachine(pager_.get(), std::chrono::seconds(60));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace mayfly
