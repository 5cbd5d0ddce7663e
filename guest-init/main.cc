// mayfly-init: PID 1 of the guest. Prepares the system, connects to the VMM, and serves one
// function until the VMM or the channel says that it is over.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "base/file.h"
#include "guest-init/child_reaper.h"
#include "guest-init/command_line.h"
#include "guest-init/control_channel.h"
#include "guest-init/guest_platform.h"
#include "guest-init/modules.h"
#include "guest-init/mounts.h"
#include "guest-init/session.h"
#include "guest-init/system.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

void WriteToConsole(std::string_view line) {
  const std::string text = "mayfly-init: " + std::string(line) + "\n";
  const auto console = OpenFile("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK);
  if (console) IgnoreFailure(WriteAll(console->get(), AsBytes(text), "/dev/console"));
}

Result<void> Run() {
  TRY(MountSystem());
  const CommandLine options = ParseCommandLine(TRY(ReadText("/proc/cmdline")));
  const size_t modules = TRY(LoadModules("/mayfly/modules"));
  TRY(EnableLoopback());
  TRY(ProtectInit());
  const auto loop = TRY(EventLoop::Create());
  const auto reaper = TRY(ChildReaper::Create(loop.get()));
  UniqueFd stream = options.control_device.empty()
                        ? TRY(ControlChannel::ConnectVsock())
                        : TRY(ControlChannel::OpenDevice(options.control_device));
  const auto channel = TRY(ControlChannel::Create(std::move(stream), loop.get()));
  GuestPlatform platform;
  Session session(loop.get(), channel.get(), reaper.get(), &platform);
  if (options.console) {
    WriteToConsole("connected, " + std::to_string(modules) + " modules loaded");
  }
  return loop->Run();
}

}  // namespace
}  // namespace mayfly::init

int main() {
  if (::getpid() != 1) {
    constexpr std::string_view kText = "mayfly-init runs as process 1 of a mayfly guest only\n";
    mayfly::IgnoreFailure(mayfly::WriteAll(STDERR_FILENO, mayfly::AsBytes(kText), "stderr"));
    return 1;
  }
  static_cast<void>(::signal(SIGPIPE, SIG_IGN));  // There is such a signal.
  const mayfly::Result<void> result = mayfly::init::Run();
  if (!result) mayfly::init::WriteToConsole(result.error().message());
  mayfly::init::PowerOffMachine();
}
