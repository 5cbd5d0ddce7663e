#include "vmm/zygote/zygote.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr int kFailed = 3;
// New clones for the stock are forked when no request has come for so long: beside one, they would
// take the processor from it.
constexpr int kQuietMilliseconds = 2;

}  // namespace

Result<void> Zygote::Run(JailOptions options, std::vector<int> keep, UniqueFd control,
                         uint32_t stock, CloneBody* body) {
  const int host = control.get();
  keep.push_back(host);
  auto started = [&]() -> Result<std::unique_ptr<Jail>> {
    auto jail = TRY(Jail::Create(std::move(options)));
    TRY(jail->Start(keep, [&] { return Zygote(std::move(control), stock, body).Serve(); }));
    return jail;
  }();
  if (!started) {
    // Nobody may be there any more to be told.
    IgnoreFailure(ReportToHost(host, started.error()));
    return std::unexpected(started.error());
  }
  control.Reset();
  // How it ends is for nobody: the host has gone, or sees that the zygote has.
  (void)TRY((*started)->Wait());
  return {};
}

int Zygote::Serve() {
  const Result<void> stocked = FillStock();
  if (!stocked) {
    IgnoreFailure(ReportToHost(control_.get(), stocked.error()));
    return kFailed;
  }
  IgnoreFailure(SendPacket(control_.get(), {PacketKind::kReady, 0, {}}));
  while (true) {
    std::vector<pollfd> events{{control_.get(), POLLIN, 0}};
    for (const Clone& clone : waiting_) events.push_back({clone.process.get(), POLLIN, 0});
    for (const Clone& clone : clones_) {
      events.push_back({clone.process.get(), POLLIN, 0});
      events.push_back({clone.host.get(), 0, 0});  // Hang-ups are always told.
    }
    const int ready =
        ::poll(events.data(), events.size(), waiting_.size() < stock_ ? kQuietMilliseconds : -1);
    if (ready < 0 && errno != EINTR) return kFailed;
    // A host that has run out of something may have it later.
    if (ready == 0) IgnoreFailure(FillStock());
    if (ready <= 0) continue;
    std::vector<short> happened;
    happened.reserve(events.size());
    for (const pollfd& event : events) happened.push_back(event.revents);
    LookAfterClones(std::span(happened).subspan(1));
    // With the process namespace's first process, all others in it end.
    if (happened[0] != 0 && !TakeRequest()) return 0;
  }
}

Result<void> Zygote::FillStock() {
  while (waiting_.size() < stock_) waiting_.push_back(TRY(Fork()));
  return {};
}

Result<Zygote::Clone> Zygote::Fork() {
  auto [ours, theirs] = TRY(MakePacketSockets());
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno("fork");
  if (pid == 0) {
    ours.Reset();
    BeClone(std::move(theirs));
  }
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) {
    const auto failed = FailErrno("pidfd_open");
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return failed;
  }
  return Clone{pid, std::move(process), std::move(ours)};
}

void Zygote::BeClone(UniqueFd requests) {
  // It must not speak for the zygote, nor for other clones.
  control_.Reset();
  waiting_.clear();
  clones_.clear();
  const Result<void> prepared = body_->Prepare();
  auto request = ReceivePacket(requests.get());
  requests.Reset();
  if (!request || !*request || (*request)->fds.empty()) ::_exit(kFailed);
  const UniqueFd host = std::move((*request)->fds.front());
  (*request)->fds.erase((*request)->fds.begin());
  const Result<void> ran = prepared ? body_->Run(host.get(), std::move(**request)) : prepared;
  if (!ran) {
    IgnoreFailure(WritePacket(host.get(),
                              {PacketKind::kFailed, 0, {static_cast<uint64_t>(ran.error().code())}},
                              AsBytes(ran.error().message())));
  }
  ::_exit(ran ? 0 : kFailed);
}

bool Zygote::TakeRequest() {
  const auto request = ReceivePacket(control_.get());
  if (!request || !*request || (*request)->head.kind != PacketKind::kClone) return false;
  if ((*request)->fds.empty()) return false;
  const Result<void> handed = HandOn(**request);
  if (!handed) IgnoreFailure(ReportToHost((*request)->fds.front().get(), handed.error()));
  return true;
}

Result<void> Zygote::HandOn(const Packet& request) {
  if (waiting_.empty()) waiting_.push_back(TRY(Fork()));
  // Before the clone is handed anything: one that fails here still waits, and is not lost.
  UniqueFd host = TRY(request.fds.front().Duplicate());
  Clone clone = std::move(waiting_.front());
  waiting_.pop_front();
  std::vector<int> fds;
  fds.reserve(request.fds.size());
  for (const UniqueFd& fd : request.fds) fds.push_back(fd.get());
  const Result<void> sent =
      SendPacket(clone.requests.get(), request.head, request.bytes, fds, false);
  clone.requests.Reset();
  clone.host = std::move(host);
  clones_.push_back(std::move(clone));
  return sent;
}

// `happened` is as Serve() has asked: of those that wait, one each, of the others two.
void Zygote::LookAfterClones(std::span<const short> happened) {
  size_t at = 0;
  std::deque<Clone> waiting;
  for (Clone& clone : waiting_) {
    if (happened[at++] != 0) {
      Bury(clone);
    } else {
      waiting.push_back(std::move(clone));
    }
  }
  waiting_ = std::move(waiting);
  std::vector<Clone> clones;
  for (Clone& clone : clones_) {
    const bool ended = happened[at++] != 0;
    const bool left_alone = happened[at++] != 0;
    if (!ended && left_alone) ::kill(clone.pid, SIGKILL);
    if (ended || left_alone) {
      Bury(clone);
    } else {
      clones.push_back(std::move(clone));
    }
  }
  clones_ = std::move(clones);
}

void Zygote::Bury(Clone& clone) const {
  int status = 0;
  while (::waitpid(clone.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!clone.host.valid()) return;
  // The clone may have left no room for it; then the host sees an end without a reason.
  IgnoreFailure(SendPacket(clone.host.get(), {PacketKind::kEnd, 0, {static_cast<uint64_t>(status)}},
                           {}, {}, false));
}

}  // namespace mayfly
