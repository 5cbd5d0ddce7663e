#include "snapshot/remote_pager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "base/json.h"
#include "snapshot/pager_handshake.h"

namespace mayfly {

Result<std::unique_ptr<RemotePager>> RemotePager::Create(GuestMemory* memory,
                                                         const Options& options) {
  Peer peer = TRY(WithContext(Connect(options), "pager"));
  Userfaultfd uffd = options.prepared != nullptr ? TRY(options.prepared->userfaultfd.Duplicate())
                                                 : TRY(Userfaultfd::Create());
  PagedRegions regions = PagedRegions::Of(*memory);
  for (const PagedRegion& region : regions.regions()) {
    TRY(uffd.Register(region.host, region.size));
  }
  memory->SetFilledOnTouch();
  UniqueFd info = options.prepared != nullptr ? TRY(options.prepared->info.Duplicate())
                                              : TRY(StallWatch::OpenInfo(uffd.fd()));
  StallWatch stall(std::move(info), regions, options.deadline);
  PagerHandshake handshake;
  handshake.regions.assign(regions.regions().begin(), regions.regions().end());
  handshake.snapshot = options.snapshot;
  TRY(WithContext(SendToPager(peer.socket.get(), handshake.Encode(), uffd.fd()), "pager"));
  EventFd wake = TRY(EventFd::Create());
  std::unique_ptr<RemotePager> pager(new RemotePager(
      std::move(regions), std::move(uffd), std::move(peer), std::move(stall), std::move(wake)));
  RemotePager* const self = pager.get();
  pager->thread_ =
      Thread("pager-watch", [self, on_start = options.on_start, deadline = options.deadline] {
        if (on_start) on_start();
        self->Loop(deadline);
      });
  return pager;
}

RemotePager::~RemotePager() {
  wake_.Signal();
  thread_.Join();
}

Result<RemotePager::Prepared> RemotePager::Prepare(int device) {
  Userfaultfd uffd = TRY(Userfaultfd::Create(Userfaultfd::Mode::kMissing, device));
  UniqueFd info = TRY(StallWatch::OpenInfo(uffd.fd()));
  return Prepared{std::move(uffd), std::move(info)};
}

Result<RemotePager::Peer> RemotePager::Connect(const Options& options) {
  Peer peer;
  if (options.path.empty()) {
    // Whoever made the pair is said to be the peer. The end of the process hangs up.
    peer.socket.Reset(::fcntl(options.socket, F_DUPFD_CLOEXEC, 0));
    if (!peer.socket.valid()) return FailErrno("duplicate the socket");
    if (options.process >= 0) {
      peer.process.Reset(::fcntl(options.process, F_DUPFD_CLOEXEC, 0));
      if (!peer.process.valid()) return FailErrno("duplicate the pidfd");
    }
    return peer;
  }
  peer.socket = TRY(ConnectToPager(options.path));
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(peer.socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return FailErrno("SO_PEERCRED");
  }
  // 0 is a process of another pid namespace. The socket, which hangs up, has to do then.
  if (credentials.pid > 0) {
    peer.process.Reset(static_cast<int>(::syscall(SYS_pidfd_open, credentials.pid, 0)));
  }
  return peer;
}

void RemotePager::Abandon() {
  wake_.Signal();
  thread_.Join();
}

void RemotePager::Loop(std::chrono::milliseconds deadline) {
  std::array<pollfd, 3> events{{{wake_.fd(), POLLIN, 0},
                                {peer_.socket.get(), POLLIN | POLLRDHUP, 0},
                                {peer_.process.get(), POLLIN, 0}}};
  while (true) {
    const int ready =
        ::poll(events.data(), events.size(), static_cast<int>(stall_.interval().count()));
    if (ready < 0) continue;
    if (events[0].revents != 0) break;
    if (events[1].revents != 0 || events[2].revents != 0) {
      SetFailed(LastWords());
      break;
    }
    if (stall_.Stalled(StallWatch::Clock::now())) {
      SetFailed(Error(ErrorCode::kTimeout,
                      fmt::format("pager: a page did not come within {} ms", deadline.count())));
      break;
    }
  }
  RefuseAll();
}

Error RemotePager::LastWords() const {
  std::array<char, 512> words{};
  pollfd said{peer_.socket.get(), POLLIN, 0};
  const ssize_t size =
      ::poll(&said, 1, 0) > 0 ? ::read(peer_.socket.get(), words.data(), words.size()) : 0;
  if (size <= 0) return {ErrorCode::kHost, "pager: it has died, or hung up"};
  std::string_view text(words.data(), static_cast<size_t>(size));
  text = text.substr(0, text.find('\n'));
  return {ErrorCode::kCorrupt, "pager: " + Printable(text)};
}

void RemotePager::RefuseAll() {
  for (const PagedRegion& region : regions_.regions()) {
    // In this order: who is woken looks again, and must find it forbidden. What fails here would
    // leave a thread waiting, but not seeing anything.
    IgnoreFailure(ForbidMemory(region.host, region.size));
    IgnoreFailure(uffd_.Wake(region.host, region.size));
  }
}

}  // namespace mayfly
