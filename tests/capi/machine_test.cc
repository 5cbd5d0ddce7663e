#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

class ApiMachineTest : public ApiFixture {};

TEST_F(ApiMachineTest, GuestThatPowersOffEnds) {
  mayfly_machine* const machine = BootMachine("basic", "hello");
  EXPECT_EQ(mayfly_machine_wait(machine, kMostMilliseconds), MAYFLY_OK);
  pollfd ended{mayfly_machine_fd(machine), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 0), 1);
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_machine_end(machine, &end), MAYFLY_OK);
  EXPECT_EQ(end.reason, MAYFLY_END_POWER_OFF);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineTest, ConsoleGoesToTheDescriptor) {
  const std::string console = PathFor("console");
  const int output = ::open(console.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_GE(output, 0);
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_kernel(machine, GuestPath("basic").c_str(), nullptr, "hello"),
            MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_console(machine, -1, output), MAYFLY_OK);
  ::close(output);
  ASSERT_EQ(mayfly_machine_boot(machine), MAYFLY_OK) << ErrorOf(machine);
  EXPECT_EQ(mayfly_machine_wait(machine, kMostMilliseconds), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  std::ifstream written(console);
  std::string line;
  EXPECT_TRUE(std::getline(written, line));
  EXPECT_EQ(line, "hello");
}

TEST_F(ApiMachineTest, RunsOnAfterAPauseAndStops) {
  mayfly_machine* const machine = BootMachine("basic", "loop");
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_machine_end(machine, &end), MAYFLY_E_AGAIN);
  EXPECT_EQ(mayfly_machine_pause(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_resume(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_wait(machine, 1), MAYFLY_E_TIMEOUT);
  EXPECT_EQ(mayfly_machine_stop(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_stop(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_pause(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_resume(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_end(machine, &end), MAYFLY_OK);
  EXPECT_EQ(end.reason, MAYFLY_END_STOPPED);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineTest, AllDevicesAreConfigured) {
  const std::string disk = PathFor("disk");
  ASSERT_EQ(::close(::open(disk.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)), 0);
  ASSERT_EQ(::truncate(disk.c_str(), 1 << 20), 0);
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_kernel(machine, GuestPath("basic").c_str(), nullptr, "loop"),
            MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_memory(machine, 96 << 20), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_vcpus(machine, 2), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_add_disk(machine, disk.c_str(), nullptr, MAYFLY_DISK_READ_ONLY),
            MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_vsock(machine, 7, PathFor("vsock").c_str()), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_rng(machine, 1), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_balloon(machine, 4 << 20), MAYFLY_OK);
  ASSERT_EQ(mayfly_machine_boot(machine), MAYFLY_OK) << ErrorOf(machine);
  EXPECT_EQ(mayfly_machine_set_balloon(machine, 0), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_link(machine, 0, 0), MAYFLY_E_INVALID);
  std::string json(1 << 16, '\0');
  size_t size = json.size();
  EXPECT_EQ(mayfly_machine_metrics(machine, json.data(), &size), MAYFLY_OK);
  EXPECT_NE(json.find("\"disk0\""), std::string::npos);
  std::string text(1 << 16, '\0');
  size = text.size();
  EXPECT_EQ(mayfly_machine_metrics_text(machine, text.data(), &size), MAYFLY_OK);
  EXPECT_NE(text.find("device=\"disk0\""), std::string::npos);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineTest, DeviceThatIsNotThereFailsTheBootAndIsNamed) {
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_kernel(machine, GuestPath("basic").c_str(), nullptr, "loop"),
            MAYFLY_OK);
  const mayfly_net net = {"no-such-tap0", "02:00:00:00:00:01", nullptr, nullptr, nullptr};
  EXPECT_EQ(mayfly_machine_add_net(machine, &net), MAYFLY_OK);
  EXPECT_LT(mayfly_machine_boot(machine), 0);
  EXPECT_NE(ErrorOf(machine).find("net0"), std::string::npos) << ErrorOf(machine);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineTest, ClosingItEndsAWait) {
  mayfly_machine* const machine = BootMachine("basic", "loop");
  std::thread waiter([&] {
    const int status = mayfly_machine_wait(machine, kMostMilliseconds);
    EXPECT_TRUE(status == MAYFLY_E_CANCELLED || status == MAYFLY_E_HANDLE) << status;
  });
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  waiter.join();
}

TEST_F(ApiMachineTest, OrderOfCallsIsKept) {
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_pause(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_resume(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_stop(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_wait(machine, 0), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_fd(machine), MAYFLY_E_STATE);
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_machine_end(machine, &end), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_kernel(machine, GuestPath("basic").c_str(), nullptr, "loop"),
            MAYFLY_OK);
  ASSERT_EQ(mayfly_machine_boot(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_vcpus(machine, 1), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_set_balloon(machine, 0), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMachineTest, SizesThatAreNoneAreRefused) {
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_memory(machine, 0), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_memory(machine, (128 << 20) + 1), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_vcpus(machine, 0), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_vcpus(machine, UINT32_MAX), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_vsock(machine, 2, "/tmp/x"), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_add_disk(machine, "x", nullptr, 0x80), MAYFLY_E_UNSUPPORTED);
  EXPECT_EQ(mayfly_machine_set_console(machine, 12345, -1), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_kernel(machine, GuestPath("basic").c_str(), nullptr, "loop"),
            MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_set_memory(machine, UINT64_MAX - 4095), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
