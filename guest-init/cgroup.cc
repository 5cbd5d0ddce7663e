#include "guest-init/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <array>
#include <charconv>

#include "base/file.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

uint64_t ParseNumber(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The kernel tells of a change of cgroup.events only every 10 ms.
constexpr timespec kFreezePause{.tv_sec = 0, .tv_nsec = 500'000};

Result<void> SetFrozen(const UniqueFd& freezer, char value) {
  if (::pwrite(freezer.get(), &value, 1, 0) != 1) return FailErrno("cgroup.freeze");
  return {};
}

}  // namespace

Result<HandlerCgroup> HandlerCgroup::Create(const std::string& hierarchy, uint64_t memory_bytes) {
  HandlerCgroup group(hierarchy + "/handler");
  for (const char* controller : {"+memory", "+pids", "+cpu"}) {
    const Result<void> enabled = WriteText(hierarchy + "/cgroup.subtree_control", controller);
    if (!enabled) group.missing_.append(" ").append(controller + 1);
  }
  if (::mkdir(group.path_.c_str(), 0755) != 0 && errno != EEXIST) return FailErrno(group.path_);
  const std::pair<const char*, std::string> knobs[] = {
      {"pids.max", std::to_string(kMaxProcesses)},
      {"memory.max", std::to_string(memory_bytes)},
      {"memory.swap.max", "0"},
      {"memory.oom.group", "1"},
      {"cpu.weight", std::to_string(kCpuWeight)},
  };
  for (const auto& [name, value] : knobs) {
    const Result<void> written = WriteText(group.path_ + "/" + name, value);
    // A controller that is not there has no files.
    if (!written && written.error().errno_value() != ENOENT) {
      return std::unexpected(written.error());
    }
  }
  // memory.peak came with Linux 5.19; without the controller there is neither.
  for (const char* name : {"/memory.peak", "/memory.current"}) {
    Result<UniqueFd> file = OpenFile(group.path_ + name, O_RDONLY);
    if (file && !group.peak_.valid()) group.peak_ = std::move(*file);
  }
  return group;
}

void HandlerCgroup::Kill() const {
  // Fails only without the group, and then there is nobody in it.
  IgnoreFailure(WriteText(path_ + "/cgroup.kill", "1"));
}

Result<void> HandlerCgroup::Freeze(std::chrono::milliseconds limit) {
  if (!freezer_.valid()) freezer_ = TRY(OpenFile(path_ + "/cgroup.freeze", O_WRONLY));
  TRY(SetFrozen(freezer_, '1'));
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (TRY(ReadText(path_ + "/cgroup.events")).find("frozen 1\n") == std::string::npos) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(ErrorCode::kTimeout, "the handler's processes cannot be frozen");
    }
    ::nanosleep(&kFreezePause, nullptr);
  }
  return {};
}

Result<void> HandlerCgroup::Thaw() const { return SetFrozen(freezer_, '0'); }

uint64_t HandlerCgroup::OomKills() const {
  const std::string events = ReadText(path_ + "/memory.events").value_or("");
  constexpr std::string_view kKey = "\noom_kill ";
  const size_t found = events.find(kKey);
  return found == std::string::npos
             ? 0
             : ParseNumber(std::string_view(events).substr(found + kKey.size()));
}

uint64_t HandlerCgroup::PeakMemory() const {
  std::array<char, 32> text{};
  const ssize_t count = ::pread(peak_.get(), text.data(), text.size(), 0);
  return count > 0 ? ParseNumber({text.data(), static_cast<size_t>(count)}) : 0;
}

}  // namespace mayfly::init
