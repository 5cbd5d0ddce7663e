#include "vmm/cli/jail_request.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

JailArguments Jailed(const std::string& limit = "") {
  JailArguments arguments;
  arguments.jail = true;
  arguments.limit = limit;
  return arguments;
}

std::string ErrorOf(const JailArguments& arguments) {
  const auto request = PrepareJail(arguments);
  return request ? "" : request.error().message();
}

TEST(JailRequestTest, NothingIsWantedUnlessAskedFor) {
  EXPECT_EQ(PrepareJail({}).value(), JailRequest{});
}

TEST(JailRequestTest, LimitsAreSizesAndNumbers) {
  const JailRequest request =
      PrepareJail(Jailed("memory=512M,cpu=150,processes=32,io-weight=50,file-size=2G")).value();
  EXPECT_TRUE(request.wanted);
  EXPECT_EQ(request.limits.memory_bytes, 512ULL << 20);
  EXPECT_EQ(request.limits.cpu_percent, 150U);
  EXPECT_EQ(request.limits.processes, 32U);
  EXPECT_EQ(request.limits.io_weight, 50U);
  EXPECT_EQ(request.file_bytes, 2ULL << 30);
}

TEST(JailRequestTest, UnknownLimitsAreRefusedByName) {
  EXPECT_NE(ErrorOf(Jailed("disk=1")).find("disk"), std::string::npos);
  EXPECT_NE(ErrorOf(Jailed("memory")), "");
  EXPECT_NE(ErrorOf(Jailed("processes=0")), "");
  EXPECT_NE(ErrorOf(Jailed("cpu=-1")), "");
  EXPECT_NE(ErrorOf(Jailed("memory=99999999999999999999")), "");
}

TEST(JailRequestTest, HostileNamesAreRefused) {
  JailArguments arguments = Jailed();
  arguments.id = "../x";
  EXPECT_NE(ErrorOf(arguments).find("--jail-id"), std::string::npos);
}

TEST(JailRequestTest, SystemCallsAreKilledForOrLogged) {
  JailArguments arguments = Jailed();
  EXPECT_FALSE(PrepareJail(arguments).value().log);
  arguments.seccomp = "log";
  EXPECT_TRUE(PrepareJail(arguments).value().log);
  arguments.seccomp = "off";
  EXPECT_NE(ErrorOf(arguments).find("off"), std::string::npos);
}

TEST(JailRequestTest, OptionsOfAJailNeedOne) {
  JailArguments arguments;
  arguments.limit = "cpu=10";
  EXPECT_NE(ErrorOf(arguments).find("--jail"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
