#include "tests/bench/host_disk.h"

#include <fcntl.h>
#include <liburing.h>

#include <memory>
#include <random>

#include "base/file.h"

namespace mayfly {
namespace {

using Clock = Stopwatch::Clock;

class Ring {
 public:
  Ring(const DiskLoad& load, int fd, uint64_t blocks)
      : load_(load),
        fd_(fd),
        blocks_(blocks),
        data_(size_t{load.size} * load.depth, 0x5a),
        random_(blocks) {
    submitted_.resize(load.depth);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (created_) ::io_uring_queue_exit(&ring_);
  }

  Result<void> Create() {
    const int result = ::io_uring_queue_init(2 * load_.depth, &ring_, 0);
    if (result < 0) return FailErrno("io_uring_setup", -result);
    created_ = true;
    return {};
  }

  void Prepare(unsigned slot) {
    const uint64_t block = load_.sequential ? position_++ % blocks_ : random_() % blocks_;
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    void* const data = data_.data() + size_t{slot} * load_.size;
    if (load_.write) {
      ::io_uring_prep_write(entry, fd_, data, load_.size, block * load_.size);
    } else {
      ::io_uring_prep_read(entry, fd_, data, load_.size, block * load_.size);
    }
    entry->user_data = slot;
    submitted_[slot] = Clock::now();
  }

  // Waits for at least one request and hands each that is done to `done(slot)`.
  template <class Function>
  Result<void> Turn(Function done) {
    const int submitted = ::io_uring_submit_and_wait(&ring_, 1);
    if (submitted < 0) return FailErrno("io_uring_enter", -submitted);
    io_uring_cqe* entry = nullptr;
    while (::io_uring_peek_cqe(&ring_, &entry) == 0) {
      const auto slot = static_cast<unsigned>(entry->user_data);
      const int result = entry->res;
      ::io_uring_cqe_seen(&ring_, entry);
      if (result != static_cast<int>(load_.size)) return FailErrno("a transfer", EIO);
      TRY(done(slot));
    }
    return {};
  }

  [[nodiscard]] Clock::time_point submitted(unsigned slot) const { return submitted_[slot]; }

 private:
  const DiskLoad load_;
  const int fd_;
  const uint64_t blocks_;
  std::vector<uint8_t> data_;
  std::vector<Clock::time_point> submitted_;
  std::minstd_rand random_;  // The same blocks each time, on a disk of this size.
  uint64_t position_ = 0;
  bool created_ = false;
  io_uring ring_{};
};

}  // namespace

Result<Measurement> MeasureDisk(const std::string& path, const DiskLoad& load, double seconds) {
  const UniqueFd file = TRY(OpenFile(path, load.write ? O_RDWR : O_RDONLY));
  const uint64_t size = TRY(FileSize(file.get(), path));
  Ring ring(load, file.get(), size / load.size);
  TRY(ring.Create());
  for (unsigned slot = 0; slot < load.depth; ++slot) ring.Prepare(slot);
  Stopwatch watch(seconds);
  while (watch.running()) {
    TRY(ring.Turn([&](unsigned slot) -> Result<void> {
      watch.Sample(Clock::now() - ring.submitted(slot));
      watch.Count(load.size);
      ring.Prepare(slot);
      return {};
    }));
  }
  return watch.Stop();
}

}  // namespace mayfly
