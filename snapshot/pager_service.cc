#include "snapshot/pager_service.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "base/file.h"
#include "base/mutex.h"
#include "snapshot/pager_handshake.h"

namespace mayfly {
namespace {

constexpr std::chrono::milliseconds kHandshakeTimeout{5000};

Result<UniqueFd> Listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Fail(ErrorCode::kInvalidArgument, path + ": not a path that a socket can have");
  }
  path.copy(address.sun_path, path.size());
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return FailErrno("socket");
  // The socket's file gets the mode of the socket, so that nobody else can be faster.
  if (::fchmod(listener.get(), 0600) != 0) return FailErrno("fchmod");
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("bind " + path);
  }
  if (::listen(listener.get(), SOMAXCONN) != 0) return FailErrno("listen");
  return listener;
}

}  // namespace

// One machine, and the thread that waits for its end.
class PagerService::Client {
 public:
  Client(UniqueFd socket, EventFd stop, PageSource* source, const Options* options)
      : socket_(std::move(socket)), stop_(std::move(stop)), source_(source), options_(options) {
    thread_ = Thread("pager-client", [this] { Serve(); });
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    stop_.Signal();
    thread_.Join();
  }

  void Wait() { thread_.Join(); }
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }

 private:
  void Serve() {
    const Result<void> served = TryToServe();
    if (!served && served.error().code() != ErrorCode::kCancelled) {
      // The machine ends with these words, if it is still there to read them.
      IgnoreFailure(SendWords(served.error().message()));
      options_->report(served.error());
    }
    ::shutdown(socket_.get(), SHUT_RDWR);
    ended_.store(true, std::memory_order_release);
  }

  Result<void> TryToServe() {
    ReceivedHandshake received = TRY(ReceiveFromMachine(socket_.get(), kHandshakeTimeout));
    const PagerHandshake handshake =
        TRY(PagerHandshake::Parse(received.text, options_->image_bytes));
    if (!handshake.snapshot.empty() && handshake.snapshot != options_->snapshot) {
      return Fail(ErrorCode::kInvalidArgument, "the machine is of another snapshot");
    }
    Userfaultfd uffd = TRY(Userfaultfd::Adopt(std::move(received.uffd)));
    const auto server =
        TRY(FaultServer::Create({std::move(uffd), PagedRegions(handshake.regions), source_,
                                 [this](const Userfaultfd& /*uffd*/, const Error& error,
                                        uint64_t /*address*/) { Refuse(error); }},
                                options_->pager));
    if (options_->working_set) TRY(server->PushAhead(*options_->working_set));
    std::array<pollfd, 2> events{{{socket_.get(), POLLIN | POLLRDHUP, 0}, {stop_.fd(), POLLIN, 0}}};
    while (::poll(events.data(), events.size(), -1) < 0 && errno == EINTR) {
    }
    MutexLock lock(mutex_);
    // A machine that has ended has no pages left that could be filled.
    if (refused_ && refused_->errno_value() != ESRCH) return std::unexpected(*refused_);
    return {};
  }

  // On the server's thread.
  void Refuse(const Error& error) {
    MutexLock lock(mutex_);
    if (!refused_) refused_ = error;
    stop_.Signal();
  }

  Result<void> SendWords(const std::string& words) const {
    const std::string line = words + "\n";
    if (::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      return FailErrno("send");
    }
    return {};
  }

  const UniqueFd socket_;
  const EventFd stop_;
  PageSource* const source_;
  const Options* const options_;
  std::atomic<bool> ended_{false};
  Mutex mutex_;
  std::optional<Error> refused_ GUARDED_BY(mutex_);
  Thread thread_;
};

PagerService::PagerService(std::unique_ptr<PageSource> source, Options options, UniqueFd listener,
                           EventFd stop)
    : source_(std::move(source)),
      options_(std::move(options)),
      listener_(std::move(listener)),
      stop_(std::move(stop)) {}

PagerService::~PagerService() { ::unlink(options_.path.c_str()); }

Result<std::unique_ptr<PagerService>> PagerService::Create(std::unique_ptr<PageSource> source,
                                                           Options options) {
  UniqueFd listener = TRY(Listen(options.path));
  EventFd stop = TRY(EventFd::Create());
  return std::unique_ptr<PagerService>(new PagerService(std::move(source), std::move(options),
                                                        std::move(listener), std::move(stop)));
}

Result<void> PagerService::ServeOne(UniqueFd socket, std::unique_ptr<PageSource> source,
                                    const Options& options) {
  EventFd stop = TRY(EventFd::Create());
  Client client(std::move(socket), std::move(stop), source.get(), &options);
  client.Wait();
  return {};
}

Result<void> PagerService::Run() {
  std::array<pollfd, 2> events{{{listener_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}}};
  while (true) {
    if (::poll(events.data(), events.size(), -1) < 0) continue;
    if (events[1].revents != 0) return {};
    TRY(Accept());
  }
}

Result<void> PagerService::Accept() {
  clients_.remove_if([](const Client& client) { return client.ended(); });
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return {};
    return FailErrno("accept");
  }
  if (clients_.size() >= kMostClients) {
    options_.report(Error(ErrorCode::kTooLarge, "more machines than one pager serves"));
    return {};
  }
  EventFd stop = TRY(EventFd::Create());
  clients_.emplace_back(std::move(socket), std::move(stop), source_.get(), &options_);
  return {};
}

}  // namespace mayfly
