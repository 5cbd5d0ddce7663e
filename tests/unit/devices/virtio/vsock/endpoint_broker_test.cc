#include "devices/virtio/vsock/endpoint_broker.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "devices/virtio/vsock/brokered_endpoint.h"
#include "devices/virtio/vsock/endpoint_messages.h"
#include "tests/support/unix_address.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

using endpoint::Answer;
using endpoint::Request;
using endpoint::Want;

UniqueFd Socket() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(socket.valid());
  return socket;
}

UniqueFd Listen(const std::string& path) {
  UniqueFd socket = Socket();
  const sockaddr_un address = UnixAddress(path);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(::listen(socket.get(), 1), 0);
  return socket;
}

class EndpointBrokerTest : public testing::Test {
 protected:
  // A broker, and an endpoint of its whose requests are answered by a thread.
  void Start(PortPolicy policy) {
    broker_ = *EndpointBroker::Create(path_, std::move(policy));
    endpoint_ =
        std::make_unique<BrokeredEndpoint>(*broker_->CopyListener(), broker_->TakeMachineEnd());
    server_ = std::thread([this] {
      while (broker_->Serve(EndpointBroker::Clock::now())) std::this_thread::yield();
    });
  }
  void TearDown() override {
    endpoint_.reset();
    if (server_.joinable()) server_.join();
  }
  UniqueFd Client() const {
    UniqueFd socket = Socket();
    const sockaddr_un address = UnixAddress(path_);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    return socket;
  }
  static char ByteFrom(int socket) {
    char byte = 0;
    EXPECT_EQ(::recv(socket, &byte, 1, 0), 1);
    return byte;
  }

  const Scratch scratch_;
  const std::string path_ = scratch_ / "v.sock";
  std::unique_ptr<EndpointBroker> broker_;
  std::unique_ptr<BrokeredEndpoint> endpoint_;
  std::thread server_;
};

TEST_F(EndpointBrokerTest, ConnectsToAPortsSocket) {
  const UniqueFd listener = Listen(path_ + "_80");
  Start(std::nullopt);

  const auto socket = endpoint_->Connect(80);

  ASSERT_TRUE(socket) << socket.error().message();
  const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(peer.valid());
  EXPECT_EQ(::send(peer.get(), "x", 1, 0), 1);
  EXPECT_EQ(ByteFrom(socket->get()), 'x');
  char byte = 0;
  EXPECT_EQ(::recv(socket->get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(EndpointBrokerTest, ChecksThePolicyItself) {
  const UniqueFd listener = Listen(path_ + "_80");
  Start(PortPolicy({{81, 90}}));

  const auto refused = endpoint_->Connect(80);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().errno_value(), EACCES);
}

TEST_F(EndpointBrokerTest, PortWithoutAListenerIsAnError) {
  Start(std::nullopt);
  EXPECT_EQ(endpoint_->Connect(80).error().errno_value(), ENOENT);
}

TEST_F(EndpointBrokerTest, HandsClientsOver) {
  Start(std::nullopt);
  EXPECT_EQ(endpoint_->Accept().error().errno_value(), EAGAIN);
  const UniqueFd client = Client();

  const auto accepted = endpoint_->Accept();

  ASSERT_TRUE(accepted) << accepted.error().message();
  EXPECT_EQ(::send(client.get(), "y", 1, 0), 1);
  EXPECT_EQ(ByteFrom(accepted->get()), 'y');
}

// Within a second of the last one that was counted anew, or the count begins again.
TEST_F(EndpointBrokerTest, RequestsBeyondTheRateAreRefused) {
  broker_ = *EndpointBroker::Create(path_, std::nullopt);
  const UniqueFd machine = broker_->TakeMachineEnd();
  const Request request{1, Want::kClient, 0};
  EndpointBroker::Clock::time_point now = EndpointBroker::Clock::now();
  const auto ask = [&] {
    Answer answer{};
    EXPECT_EQ(::send(machine.get(), &request, sizeof(request), 0), ssize_t{sizeof(request)});
    EXPECT_TRUE(broker_->Serve(now));
    EXPECT_EQ(::recv(machine.get(), &answer, sizeof(answer), 0), ssize_t{sizeof(answer)});
    return answer.error;
  };
  EXPECT_EQ(ask(), EAGAIN);
  for (uint32_t i = 1; i < EndpointBroker::kMostInASecond; ++i) EXPECT_EQ(ask(), EAGAIN);
  EXPECT_EQ(ask(), EBUSY);
  now += std::chrono::seconds(1);
  EXPECT_EQ(ask(), EAGAIN);
}

TEST_F(EndpointBrokerTest, WhatIsNoRequestEndsTheService) {
  broker_ = *EndpointBroker::Create(path_, std::nullopt);
  const UniqueFd machine = broker_->TakeMachineEnd();
  EXPECT_TRUE(broker_->Serve(EndpointBroker::Clock::now()));
  ASSERT_EQ(::send(machine.get(), "what", 4, 0), 4);
  EXPECT_FALSE(broker_->Serve(EndpointBroker::Clock::now()));
}

TEST_F(EndpointBrokerTest, UnknownWishesAreRefused) {
  broker_ = *EndpointBroker::Create(path_, std::nullopt);
  const UniqueFd machine = broker_->TakeMachineEnd();
  // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): what it is about.
  const Request request{7, static_cast<Want>(3), 80};
  ASSERT_EQ(::send(machine.get(), &request, sizeof(request), 0), ssize_t{sizeof(request)});

  EXPECT_TRUE(broker_->Serve(EndpointBroker::Clock::now()));

  Answer answer{};
  ASSERT_EQ(::recv(machine.get(), &answer, sizeof(answer), 0), ssize_t{sizeof(answer)});
  EXPECT_EQ(answer.number, 7U);
  EXPECT_EQ(answer.error, EACCES);
}

TEST_F(EndpointBrokerTest, MachineThatTakesNoAnswersHoldsNobodyUp) {
  broker_ = *EndpointBroker::Create(path_, std::nullopt);
  const UniqueFd machine = broker_->TakeMachineEnd();
  const Request request{1, Want::kConnection, 80};
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(::send(machine.get(), &request, sizeof(request), 0), ssize_t{sizeof(request)});
    ASSERT_TRUE(broker_->Serve(EndpointBroker::Clock::now()));
  }
}

TEST_F(EndpointBrokerTest, ItsEndRemovesTheSocket) {
  broker_ = *EndpointBroker::Create(path_, std::nullopt);
  broker_.reset();
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

TEST(BrokeredEndpointTest, AnswersThatCameTooLateAreDropped) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd broker(ends[0]);
  BrokeredEndpoint brokered{UniqueFd(), UniqueFd(ends[1])};
  const Answer late{0, ENOENT, 0};
  const Answer right{1, ECONNREFUSED, 0};
  ASSERT_EQ(::send(broker.get(), &late, sizeof(late), 0), ssize_t{sizeof(late)});
  ASSERT_EQ(::send(broker.get(), &right, sizeof(right), 0), ssize_t{sizeof(right)});

  EXPECT_EQ(brokered.Connect(80).error().errno_value(), ECONNREFUSED);
}

TEST(BrokeredEndpointTest, BrokerThatIsGoneIsAnError) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  BrokeredEndpoint brokered{UniqueFd(), UniqueFd(ends[1])};
  ::close(ends[0]);
  EXPECT_FALSE(brokered.Accept());
}

TEST(BrokeredEndpointTest, BrokerThatIsSilentIsGivenUp) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd broker(ends[0]);
  BrokeredEndpoint brokered{UniqueFd(), UniqueFd(ends[1])};
  EXPECT_EQ(brokered.Accept().error().errno_value(), ETIMEDOUT);
}

}  // namespace
}  // namespace mayfly
