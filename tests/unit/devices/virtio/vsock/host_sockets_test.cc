#include "devices/virtio/vsock/host_sockets.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include "base/check.h"
#include "devices/virtio/vsock/unix_endpoint.h"
#include "devices/virtio/vsock/unix_stream.h"
#include "tests/fakes/loop.h"
#include "tests/support/unix_address.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

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

// Counts the log's lines.
class CountingLog final : public LogSink {
 public:
  void Write(LogLevel, std::string_view) override { ++lines; }
  int lines = 0;
};

class HostSocketsTest : public testing::Test {
 protected:
  Result<std::unique_ptr<HostSockets>> Create(const PortPolicy& policy) {
    return std::make_unique<HostSockets>(TRY(UnixEndpoint::Create(path_)), policy, loop_.get(),
                                         false, &log_);
  }
  Result<std::unique_ptr<HostSockets>> Create() { return Create(PortPolicy()); }
  // The machine's socket with a device behind it that no driver has started.
  void Serve() {
    sockets_ = *Create();
    vsock_ = *VsockDevice::Create({.name = "vsock", .loop = loop_.get()}, VsockState{});
    ASSERT_TRUE(sockets_->Serve(vsock_.get()));
  }
  UniqueFd Client() {
    UniqueFd socket = Socket();
    const sockaddr_un address = UnixAddress(path_);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    return socket;
  }
  // Whether the device has closed the client's connection.
  static bool Closed(const UniqueFd& client) {
    char byte = 0;
    return ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  const Scratch scratch_;
  const std::string path_ = scratch_ / "v.sock";
  CountingLog log_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::unique_ptr<VsockDevice> vsock_;
  std::unique_ptr<HostSockets> sockets_;
};

TEST_F(HostSocketsTest, GuestReachesThePortsSocket) {
  const UniqueFd listener = Listen(path_ + "_80");
  const auto sockets = *Create();

  EXPECT_TRUE(sockets->Accept(80));
  EXPECT_FALSE(sockets->Accept(81));
}

TEST_F(HostSocketsTest, GuestReachesOnlyAllowedPorts) {
  const UniqueFd at_80 = Listen(path_ + "_80");
  const UniqueFd at_1024 = Listen(path_ + "_1024");
  const UniqueFd at_2001 = Listen(path_ + "_2001");
  const auto sockets = *Create(PortPolicy({{80, 80}, {1024, 2000}}));

  EXPECT_TRUE(sockets->Accept(80));
  EXPECT_TRUE(sockets->Accept(1024));
  const auto refused = sockets->Accept(2001);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "the port is not allowed");
}

TEST_F(HostSocketsTest, NoPortIsAllowedByAnEmptyPolicy) {
  const UniqueFd listener = Listen(path_ + "_80");
  const auto sockets = *Create(PortPolicy(std::vector<PortRange>{}));

  EXPECT_FALSE(sockets->Accept(80));
}

// Case 44.
TEST_F(HostSocketsTest, PathThatLeavesNoRoomForAPortIsRefused) {
  const auto sockets = UnixEndpoint::Create("/" + std::string(96, 'x'));
  ASSERT_FALSE(sockets);
  EXPECT_EQ(sockets.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(sockets.error().message(), "at most 96 bytes"));
}

// Case 44.
TEST_F(HostSocketsTest, SymbolicLinkIsRefusedAndStays) {
  ASSERT_EQ(::symlink("elsewhere", path_.c_str()), 0);

  const auto sockets = Create();

  ASSERT_FALSE(sockets);
  EXPECT_TRUE(Mentions(sockets.error().message(), "is no socket"));
  struct stat status{};
  EXPECT_EQ(::lstat(path_.c_str(), &status), 0);
}

// Case 44.
TEST_F(HostSocketsTest, StaleSocketIsReplacedAndALiveOneRefused) {
  Listen(path_).Reset();
  EXPECT_TRUE(Create());
  const UniqueFd listener = Listen(path_);
  EXPECT_TRUE(Mentions(MessageOf(Create()), "in use"));
}

TEST_F(HostSocketsTest, ClientThatSaysNothingSensibleIsDropped) {
  Serve();
  const UniqueFd client = Client();
  ASSERT_EQ(::send(client.get(), "CONNECT 5x\n", 11, 0), 11);

  RunReady(loop_.get());
  RunReady(loop_.get());

  EXPECT_TRUE(Closed(client));
}

TEST_F(HostSocketsTest, GoesWithAsManyClientsAsItTakes) {
  Serve();
  std::vector<UniqueFd> clients;
  while (clients.size() < HostSockets::kMaxPending) {
    clients.push_back(Client());
    RunReady(loop_.get());
  }

  sockets_.reset();

  EXPECT_TRUE(Closed(clients.front()));
  EXPECT_TRUE(Closed(clients.back()));
}

TEST_F(HostSocketsTest, ClientOfAMachineWithoutADriverIsDropped) {
  Serve();
  const UniqueFd client = Client();
  ASSERT_EQ(::send(client.get(), "CONNECT 52\n", 11, 0), 11);

  RunReady(loop_.get());
  RunReady(loop_.get());

  EXPECT_TRUE(Closed(client));
}

// The listener stays readable: without the pause the loop would spin until a descriptor is free.
TEST_F(HostSocketsTest, WithoutDescriptorsAcceptingPausesAndGoesOn) {
  Serve();
  const UniqueFd client = Client();
  ASSERT_EQ(::send(client.get(), "nonsense\n", 9, 0), 9);
  const UniqueFd lowest(::dup(0));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{static_cast<rlim_t>(lowest.get()), limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  for (int i = 0; i < 100; ++i) RunReady(loop_.get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(log_.lines, 1);
  EXPECT_FALSE(Closed(client));

  std::this_thread::sleep_for(HostSockets::kAcceptPause);
  for (int i = 0; i < 3; ++i) RunReady(loop_.get());

  EXPECT_TRUE(Closed(client));
}

class UnixStreamTest : public testing::Test {
 protected:
  UnixStreamTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    peer_ = UniqueFd(ends[0]);
    stream_ =
        std::make_unique<UnixStream>(UniqueFd(ends[1]), loop_.get(), UnixStream::Closing::kAtOnce);
    stream_->SetReady([this] { ++ready_; });
  }
  Result<size_t> Write(size_t size) {
    std::string bytes(size, 'x');
    const iovec piece{bytes.data(), bytes.size()};
    return stream_->Write({&piece, 1});
  }
  Result<size_t> Read() {
    std::array<char, 16> bytes;
    const iovec piece{bytes.data(), bytes.size()};
    return stream_->Read({&piece, 1});
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  UniqueFd peer_;
  std::unique_ptr<UnixStream> stream_;
  int ready_ = 0;
};

// A SIGPIPE would end the test.
TEST_F(UnixStreamTest, WritingToAPeerThatIsGoneIsAnError) {
  peer_.Reset();
  const auto written = Write(1);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errno_value(), EPIPE);
}

TEST_F(UnixStreamTest, FullPeerTakesNothing) {
  while (*Write(1 << 16) != VsockStream::kWouldBlock) continue;
  EXPECT_EQ(*Write(1), VsockStream::kWouldBlock);
}

TEST_F(UnixStreamTest, EachInterestIsAnsweredOnce) {
  ASSERT_EQ(::send(peer_.get(), "x", 1, 0), 1);
  stream_->SetInterest(true, false);

  for (int i = 0; i < 10; ++i) RunReady(loop_.get());

  EXPECT_EQ(ready_, 1);
}

// A hang-up is reported whether one waits for it or not, and would be again and again.
TEST_F(UnixStreamTest, HangUpIsToldOnce) {
  stream_->SetInterest(true, true);
  stream_->SetInterest(false, false);
  peer_.Reset();

  for (int i = 0; i < 10; ++i) RunReady(loop_.get());

  EXPECT_LE(ready_, 1);
}

TEST_F(UnixStreamTest, EndsOfEitherSideAreSeenByTheOther) {
  ASSERT_EQ(::shutdown(peer_.get(), SHUT_WR), 0);
  EXPECT_EQ(*Read(), 0);
  stream_->ShutdownWrite();
  char byte = 0;
  EXPECT_EQ(::recv(peer_.get(), &byte, 1, 0), 0);
}

TEST_F(UnixStreamTest, ShutdownOfReadingStopsThePeersWriter) {
  stream_->ShutdownRead();
  EXPECT_EQ(::send(peer_.get(), "x", 1, MSG_NOSIGNAL), -1);
}

}  // namespace
}  // namespace mayfly
