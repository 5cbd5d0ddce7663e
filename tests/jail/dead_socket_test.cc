#include "jailer/dead_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/check.h"
#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

class DeadSocketTest : public testing::Test {
 protected:
  [[nodiscard]] UniqueFd Listen() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(socket.valid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path_, static_cast<char*>(address.sun_path));
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(socket.get(), 1), 0);
    return socket;
  }

  const RecordDirectory directory_;
  const std::string path_ = directory_.path() + "/s";
};

TEST_F(DeadSocketTest, IsRemoved) {
  Listen().Reset();
  EXPECT_TRUE(RemoveDeadSocket(path_));
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(DeadSocketTest, StaysWhileSomebodyListens) {
  const UniqueFd listener = Listen();
  EXPECT_TRUE(RemoveDeadSocket(path_));
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(DeadSocketTest, WhatIsGoneIsNoError) {
  EXPECT_TRUE(RemoveDeadSocket(path_));
  EXPECT_TRUE(RemoveDeadSocket(directory_.path() + "/gone/s"));
  std::ofstream(directory_.path() + "/file") << "x";
  EXPECT_TRUE(RemoveDeadSocket(directory_.path() + "/file/s"));
}

TEST_F(DeadSocketTest, FilesStay) {
  std::ofstream(path_) << "precious";
  EXPECT_TRUE(RemoveDeadSocket(path_));
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(DeadSocketTest, LinksAndWhatTheyLeadToStay) {
  Listen().Reset();
  const std::string link = directory_.path() + "/link";
  fs::create_symlink(path_, link);
  EXPECT_TRUE(RemoveDeadSocket(link));
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(DeadSocketTest, SocketsOfOtherUsersStay) {
  if (const std::string why = WhyNoJails(); !why.empty()) GTEST_SKIP() << why;
  Listen().Reset();
  ASSERT_EQ(::chown(path_.c_str(), 12345, 12345), 0);
  EXPECT_TRUE(RemoveDeadSocket(path_));
  EXPECT_TRUE(fs::exists(path_));
}

}  // namespace
}  // namespace mayfly
