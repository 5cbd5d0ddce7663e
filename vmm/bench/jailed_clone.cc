#include "vmm/bench/jailed_clone.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "base/file.h"
#include "jailer/seccomp.h"
#include "vmm/zygote/clone_filters.h"
#include "vmm/zygote/zygote.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

// Longer than the zygote waits before it makes the next clone ahead, and that takes.
constexpr auto kBetween = std::chrono::milliseconds(20);
constexpr int kMostMilliseconds = 60'000;

// Tells the host when its guest does what.
class BenchClone final : public CloneBody {
 public:
  BenchClone(const CloneSource* source, int kvm) : source_(source), kvm_(kvm) {}

  Result<void> Prepare() override {
    UniqueFd kvm(::dup(kvm_));
    if (!kvm.valid()) return FailErrno("dup");
    shell_ = TRY(Shell::Create(source_->state(), std::move(kvm), CloneHooks()));
    return {};
  }

  Result<void> Run(int host, Packet /*request*/) override {
    const auto on_mark = [host](const Machine&, uint32_t mark) {
      const auto now = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
      IgnoreFailure(WritePacket(host, {PacketKind::kMark, 0, {mark, now}}));
    };
    // Nothing can be taken down behind the filters.
    TRY(source_->Clone(std::move(shell_), on_mark, LockDownClone)).release();
    IgnoreFailure(ReadPacket(host));  // Until the host closes its end.
    ::_exit(0);
  }

 private:
  const CloneSource* const source_;
  const int kvm_;
  std::unique_ptr<Shell> shell_;
};

}  // namespace

Result<std::unique_ptr<JailedClones>> JailedClones::Start(const CloneSource* source) {
  auto [ours, theirs] = TRY(MakePacketSockets());
  const UniqueFd kvm = TRY(OpenFile("/dev/kvm", O_RDWR));
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno("fork");
  if (pid == 0) {
    ours.Reset();
    PrepareForFilters();
    BenchClone body(source, kvm.get());
    const auto ran = Zygote::Run({}, {kvm.get(), source->memory_fd()}, std::move(theirs), 1, &body);
    ::_exit(ran ? 0 : 1);
  }
  theirs.Reset();
  auto zygote = std::make_unique<ZygoteProcess>(std::move(ours), pid);
  TRY(WithContext(zygote->WaitReady(), "jail"));
  return std::unique_ptr<JailedClones>(new JailedClones(std::move(zygote)));
}

Result<double> JailedClones::Measure() {
  ::poll(nullptr, 0, static_cast<int>(kBetween.count()));
  const auto start = Clock::now();
  const UniqueFd clone = TRY(zygote_->MakeClone({PacketKind::kClone, 0, {}}));
  std::optional<double> begun;
  while (true) {
    pollfd event{clone.get(), POLLIN, 0};
    if (::poll(&event, 1, kMostMilliseconds) <= 0) {
      return Fail(ErrorCode::kTimeout, "bench: the jailed clone does not begin");
    }
    const auto packet = TRY(ReceivePacket(clone.get()));
    if (!packet) return Fail(ErrorCode::kGuest, "bench: the jailed clone has ended");
    if (packet->head.kind != PacketKind::kMark) return std::unexpected(ErrorOf(*packet));
    const auto [mark, when, _] = packet->head.values;
    if (mark == kDoorbellBegun) {
      const Clock::time_point then{Clock::duration(static_cast<int64_t>(when))};
      begun = std::chrono::duration<double, std::micro>(then - start).count();
    }
    if (mark == kDoorbellDone && begun) return *begun;
  }
}

}  // namespace mayfly
