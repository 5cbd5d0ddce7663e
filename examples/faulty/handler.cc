// Misbehaves as the event says. The tests call it to see that nobody but the caller notices.
#include <mayfly/handler.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kMebibyte = size_t{1} << 20;

int Reply(mayfly_answer* answer, std::string_view text) {
  return mayfly_reply(answer, text.data(), text.size());
}

int Loop() {
  volatile unsigned turns = 0;
  while (true) turns = turns + 1;
}

int Exit() {
  std::puts("about to exit");
  std::exit(3);
}

int Segfault() {
  int* volatile nowhere = nullptr;
  return *nowhere;
}

int Abort() { std::abort(); }

int Throw() { throw std::runtime_error("nobody catches this"); }

int ForkBomb() {
  while (true) {
    if (::fork() < 0) ::sched_yield();
  }
}

int FillMemory() {
  std::vector<char*> blocks;
  while (true) {
    auto* block = static_cast<char*>(std::malloc(kMebibyte));
    if (block == nullptr) std::exit(4);
    std::memset(block, 1, kMebibyte);
    blocks.push_back(block);
  }
}

int WriteOneGibibyte() {
  const std::string line(kMebibyte - 1, 'x');
  for (int i = 0; i < 1024; ++i) std::puts(line.c_str());
  return 0;
}

int CloseAll() { return ::close_range(0, ~0U, 0); }

// Answers with the number of bytes that /tmp has taken.
int FillTmp(mayfly_answer* answer) {
  const std::vector<char> block(kMebibyte, 1);
  const int file = ::open("/tmp/full", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  size_t total = 0;
  for (ssize_t count = 0; (count = ::write(file, block.data(), block.size())) > 0;) {
    total += static_cast<size_t>(count);
  }
  ::close(file);
  return Reply(answer, std::to_string(total));
}

// Answers with what the kernel said to killing PID 1 and everybody.
int KillInit(mayfly_answer* answer) {
  const int result = ::kill(1, SIGKILL);
  return Reply(answer, result == 0 ? "killed" : std::strerror(errno));
}

int Remount(mayfly_answer* answer) {
  const int result = ::mount(nullptr, "/", nullptr, MS_REMOUNT, nullptr);
  return Reply(answer, result == 0 ? "remounted" : std::strerror(errno));
}

int BigAnswer(mayfly_answer* answer, size_t size) { return Reply(answer, std::string(size, 'x')); }

int DoubleAnswer(mayfly_answer* answer) {
  Reply(answer, "one");
  Reply(answer, "two");
  return 0;
}

// "sleep 0.5"
int Sleep(mayfly_answer* answer, const std::string& seconds) {
  ::usleep(static_cast<useconds_t>(std::strtod(seconds.c_str(), nullptr) * 1e6));
  return Reply(answer, "slept " + seconds);
}

// "log 1000": as many bytes on the standard output before the answer, without a newline at the end.
int Log(mayfly_answer* answer, size_t size) {
  std::fputs(std::string(size, 'l').c_str(), stdout);
  std::fputs("and an error\n", stderr);
  return Reply(answer, "logged");
}

// Sends init what no handler sends, on the descriptor of the native protocol.
int ForgeFrame() {
  const std::array<unsigned char, 64> garbage{0xff, 0xff, 0xff, 0xff, 0xff};
  const ssize_t written = ::write(3, garbage.data(), garbage.size());
  ::sleep(10);
  return static_cast<int>(written);
}

// Leaves a process behind that outlives the answer.
int LeaveChild(mayfly_answer* answer) {
  if (::fork() == 0) {
    ::setsid();
    while (true) ::pause();
  }
  return Reply(answer, "left");
}

// Is killed a moment after its answer.
int Alarm(mayfly_answer* answer) {
  ::ualarm(50'000, 0);
  return Reply(answer, "soon");
}

// Answers with random numbers of the kernel's.
int Random(mayfly_answer* answer) {
  uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), 0) != sizeof(number)) return 1;
  return Reply(answer, std::to_string(number));
}

// Answers with its clock, in nanoseconds since 1970.
int Clock(mayfly_answer* answer) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return Reply(answer, std::to_string(now.tv_sec * 1'000'000'000LL + now.tv_nsec));
}

int BootId(mayfly_answer* answer) {
  std::array<char, 64> text{};
  const int fd = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY);
  const ssize_t size = ::read(fd, text.data(), text.size());
  ::close(fd);
  return size < 0 ? 1 : Reply(answer, {text.data(), static_cast<size_t>(size)});
}

// Which hook misbehaves, as an event before has asked: "hang-before-snapshot",
// "fail-before-snapshot", "fail-after-restore".
std::string faulty_hook;

}  // namespace

extern "C" int mayfly_before_snapshot() {
  if (faulty_hook == "hang-before-snapshot") ::pause();
  return faulty_hook == "fail-before-snapshot" ? 1 : 0;
}

extern "C" int mayfly_after_restore() { return faulty_hook == "fail-after-restore" ? 1 : 0; }

extern "C" int mayfly_handler(const mayfly_event* event, mayfly_answer* answer) {
  const std::string text(reinterpret_cast<const char*>(event->data), event->size);
  const size_t space = text.find(' ');
  const std::string name = text.substr(0, space);
  const std::string argument = space == std::string::npos ? "" : text.substr(space + 1);
  const size_t number = std::strtoul(argument.c_str(), nullptr, 10);
  const std::map<std::string_view, int (*)()> endings{
      {"exit", &Exit},
      {"segfault", &Segfault},
      {"abort", &Abort},
      {"throw", &Throw},
      {"loop", &Loop},
      {"fork-bomb", &ForkBomb},
      {"fill-memory", &FillMemory},
      {"write-1g", &WriteOneGibibyte},
      {"close-fds", &CloseAll},
      {"forge-frame", &ForgeFrame},
  };
  const std::map<std::string_view, int (*)(mayfly_answer*)> answers{
      {"fill-tmp", &FillTmp},
      {"kill-init", &KillInit},
      {"remount", &Remount},
      {"double-answer", &DoubleAnswer},
      {"leave-child", &LeaveChild},
      {"random", &Random},
      {"boot-id", &BootId},
      {"alarm", &Alarm},
      {"clock", &Clock},
  };
  if (const auto found = endings.find(name); found != endings.end()) return found->second();
  if (const auto found = answers.find(name); found != answers.end()) return found->second(answer);
  if (name == "hook") faulty_hook = argument;
  if (name == "big-answer") return BigAnswer(answer, number == 0 ? 7 * kMebibyte : number);
  if (name == "sleep") return Sleep(answer, argument);
  if (name == "log") return Log(answer, number);
  if (name == "fail") return mayfly_fail(answer, "Function.Asked", argument.c_str());
  if (name == "return") return static_cast<int>(number);
  return Reply(answer, text);
}
