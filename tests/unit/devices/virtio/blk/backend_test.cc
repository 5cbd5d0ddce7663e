#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <numeric>
#include <thread>
#include <vector>

#include "base/file.h"
#include "devices/virtio/blk/open_backend.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

// Either engine, on a file in memory of four sectors whose bytes are the number of their sector.
class BlkBackendTest : public ::testing::TestWithParam<BlkEngine> {
 protected:
  static constexpr size_t kSize = 2048;

  BlkBackendTest() {
    Bytes bytes(kSize);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i / 512);
    EXPECT_TRUE(WriteAll(file_.get(), bytes, "disk"));
    Open(false);
  }
  void Open(bool read_only) {
    backend_.reset();
    // Opened anew, so that its lock ends with it.
    const std::string path = "/proc/self/fd/" + std::to_string(file_.get());
    UniqueFd fd = *OpenFile(path, read_only ? O_RDONLY : O_RDWR);
    auto backend = OpenBlkBackend({"disk", read_only, std::move(fd), GetParam()});
    ASSERT_TRUE(backend) << backend.error().message();
    backend_ = *std::move(backend);
  }
  static BlkRequest Request(BlkOperation operation, uint64_t token, uint64_t offset,
                            uint64_t length) {
    BlkRequest request;
    request.operation = operation;
    request.token = token;
    request.offset = offset;
    request.length = length;
    return request;
  }
  static BlkRequest Transfer(BlkOperation operation, uint64_t token, uint64_t offset,
                             Bytes& bytes) {
    BlkRequest request = Request(operation, token, offset, bytes.size());
    request.iovecs = {{bytes.data(), bytes.size()}};
    return request;
  }
  // Everything that was submitted, as an event loop would get it.
  std::vector<BlkCompletion> Complete(size_t count) {
    std::vector<BlkCompletion> completions;
    backend_->Commit();
    while (completions.size() < count) {
      pollfd readable{backend_->completion_fd(), POLLIN, 0};
      if (::poll(&readable, 1, 10'000) != 1) break;
      backend_->Take(&completions);
    }
    return completions;
  }
  // Submits one request and returns how it went.
  Result<void> Do(BlkRequest request) {
    backend_->Submit(std::move(request));
    auto completions = Complete(1);
    if (completions.size() != 1) return Fail(ErrorCode::kTimeout, "no completion");
    return std::move(completions.front().result);
  }
  Bytes Contents() {
    Bytes bytes(kSize);
    EXPECT_TRUE(ReadExactAt(file_.get(), bytes, 0, "disk"));
    return bytes;
  }

  UniqueFd file_{::memfd_create("disk", MFD_CLOEXEC)};
  std::unique_ptr<BlkBackend> backend_;
};

std::string NameOf(const ::testing::TestParamInfo<BlkEngine>& engine) {
  return engine.param == BlkEngine::kThread ? "Thread" : "Uring";
}
#ifdef MAYFLY_HAVE_LIBURING
constexpr std::array kEngines{BlkEngine::kThread, BlkEngine::kUring};
#else
constexpr std::array kEngines{BlkEngine::kThread};
#endif
INSTANTIATE_TEST_SUITE_P(Engines, BlkBackendTest, ::testing::ValuesIn(kEngines), NameOf);

TEST_P(BlkBackendTest, ReadFillsAllParts) {
  Bytes first(500);
  Bytes second(524);
  BlkRequest request = Request(BlkOperation::kRead, 1, 1024, 1024);
  request.iovecs = {{first.data(), 500}, {nullptr, 0}, {second.data(), 524}};

  EXPECT_TRUE(Do(std::move(request)));

  EXPECT_EQ(first, Bytes(500, 2));
  EXPECT_EQ(second.front(), 2);
  EXPECT_EQ(second.back(), 3);
}

TEST_P(BlkBackendTest, WriteReachesTheFile) {
  Bytes bytes(512, 0x77);
  EXPECT_TRUE(Do(Transfer(BlkOperation::kWrite, 1, 512, bytes)));
  EXPECT_TRUE(Do(Request(BlkOperation::kFlush, 2, 0, 0)));
  EXPECT_EQ(Contents()[511], 0);
  EXPECT_EQ(Contents()[512], 0x77);
  EXPECT_EQ(Contents()[1023], 0x77);
  EXPECT_EQ(Contents()[1024], 2);
}

TEST_P(BlkBackendTest, CompletionsCarryTheirTokens) {
  std::array<Bytes, 3> buffers{Bytes(512), Bytes(512), Bytes(512)};
  backend_->Submit(Transfer(BlkOperation::kRead, 70, 0, buffers[0]));
  backend_->Submit(Transfer(BlkOperation::kRead, 80, 512, buffers[1]));
  backend_->Submit(Transfer(BlkOperation::kRead, UINT64_MAX, 1024, buffers[2]));

  auto completions = Complete(3);

  ASSERT_EQ(completions.size(), 3);
  std::ranges::sort(completions, {}, &BlkCompletion::token);
  EXPECT_EQ(completions[0].token, 70);
  EXPECT_EQ(completions[1].token, 80);
  EXPECT_EQ(completions[2].token, UINT64_MAX);
  EXPECT_EQ(buffers[2], Bytes(512, 2));
}

TEST_P(BlkBackendTest, HundredsAtATime) {
  std::vector<Bytes> buffers(256, Bytes(4));
  for (size_t i = 0; i < buffers.size(); ++i) {
    backend_->Submit(Transfer(BlkOperation::kRead, i, i * 4, buffers[i]));
  }
  EXPECT_EQ(Complete(256).size(), 256);
  EXPECT_EQ(buffers[255], Bytes(4, 1));
}

TEST_P(BlkBackendTest, NothingIsToBeTakenTwice) {
  Bytes bytes(512);
  EXPECT_TRUE(Do(Transfer(BlkOperation::kRead, 1, 0, bytes)));
  std::vector<BlkCompletion> more;
  backend_->Take(&more);
  EXPECT_TRUE(more.empty());
  pollfd readable{backend_->completion_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 0);
}

TEST_P(BlkBackendTest, DrainWaitsForAllThatWasSubmitted) {
  std::vector<Bytes> buffers(100, Bytes(512));
  for (size_t i = 0; i < buffers.size(); ++i) {
    backend_->Submit(Transfer(BlkOperation::kRead, i, 512, buffers[i]));
  }

  backend_->Drain();

  std::vector<BlkCompletion> completions;
  backend_->Take(&completions);
  EXPECT_EQ(completions.size(), 100);
  EXPECT_EQ(buffers[99], Bytes(512, 1));
}

// As a reset does it: on a vCPU's thread, for what the loop's thread has submitted.
TEST_P(BlkBackendTest, DrainOnAnotherThread) {
  std::vector<Bytes> buffers(100, Bytes(512));
  for (size_t i = 0; i < buffers.size(); ++i) {
    backend_->Submit(Transfer(BlkOperation::kRead, i, 512, buffers[i]));
  }
  backend_->Commit();
  backend_->Submit(Request(BlkOperation::kFlush, 100, 0, 0));
  backend_->Commit();

  std::thread([this] { backend_->Drain(); }).join();

  std::vector<BlkCompletion> completions;
  backend_->Take(&completions);
  EXPECT_EQ(completions.size(), 101);
}

TEST_P(BlkBackendTest, EndsWithRequestsInFlight) {
  std::vector<Bytes> buffers(100, Bytes(512));
  for (size_t i = 0; i < buffers.size(); ++i) {
    backend_->Submit(Transfer(BlkOperation::kRead, i, 1024, buffers[i]));
  }
  backend_->Commit();
  backend_.reset();
  EXPECT_EQ(buffers[99], Bytes(512, 2));
}

TEST_P(BlkBackendTest, LockOfTheFileEndsWithTheBackend) {
  Bytes bytes(512);
  EXPECT_TRUE(Do(Transfer(BlkOperation::kRead, 1, 0, bytes)));
  Open(true);
  Open(false);
}

TEST_P(BlkBackendTest, DiscardAndZeroes) {
  EXPECT_TRUE(Do(Request(BlkOperation::kDiscard, 1, 512, 512)));
  EXPECT_TRUE(Do(Request(BlkOperation::kWriteZeroes, 2, 1536, 512)));
  EXPECT_EQ(Contents()[512], 0);
  EXPECT_EQ(Contents()[1024], 2);
  EXPECT_EQ(Contents()[1536], 0);
  EXPECT_EQ(Contents()[2047], 0);
}

// Case 30.
TEST_P(BlkBackendTest, ReadOnlyDiskIsNotWritten) {
  Open(true);
  Bytes bytes(512, 0x77);

  const auto written = Do(Transfer(BlkOperation::kWrite, 1, 0, bytes));

  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().message(), "write disk: it is read-only");
  EXPECT_FALSE(Do(Request(BlkOperation::kDiscard, 2, 0, 512)));
  EXPECT_FALSE(Do(Request(BlkOperation::kWriteZeroes, 3, 0, 512)));
  EXPECT_EQ(Contents()[0], 0);
}

// Case 31.
TEST_P(BlkBackendTest, TruncatedFileIsAnErrorOnce) {
  ASSERT_EQ(::ftruncate(file_.get(), 1000), 0);
  Bytes bytes(1024);

  const auto read = Do(Transfer(BlkOperation::kRead, 1, 512, bytes));

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kCorrupt);
  EXPECT_EQ(read.error().message(), "read disk: ends at byte 1000");
  Bytes start(512);
  EXPECT_TRUE(Do(Transfer(BlkOperation::kRead, 2, 0, start)));
}

TEST_P(BlkBackendTest, ErrorOfTheKernelIsReported) {
  BlkRequest request = Request(BlkOperation::kRead, 1, 0, 512);
  request.iovecs = {{nullptr, 512}};

  const auto read = Do(std::move(request));

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().errno_value(), EFAULT);
  EXPECT_EQ(read.error().message(), "read disk: Bad address");
}

// Case 31: what the file system takes only in part is continued, and its error reported.
TEST_P(BlkBackendTest, ShortWriteIsContinued) {
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  Bytes bytes(1024, 0x33);

  const auto written = Do(Transfer(BlkOperation::kWrite, 1, 512, bytes));

  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  (void)std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errno_value(), EFBIG);
  EXPECT_EQ(Contents()[999], 0x33);
  EXPECT_EQ(Contents()[1000], 1);
  EXPECT_TRUE(Do(Transfer(BlkOperation::kWrite, 2, 512, bytes)));
}

// Case 32. The disk's file becomes a pipe, which cannot be synced, and itself again.
TEST(ThreadBackendTest, FailedFlushIsSticky) {
  const UniqueFd file(::memfd_create("disk", MFD_CLOEXEC));
  UniqueFd fd = *file.Duplicate();
  const int number = fd.get();
  auto backend = *OpenBlkBackend({"disk", false, std::move(fd), BlkEngine::kThread});
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(pipe[0]);
  const UniqueFd write_end(pipe[1]);
  BlkRequest flush;
  flush.operation = BlkOperation::kFlush;
  std::vector<BlkCompletion> completions;

  ASSERT_EQ(::dup3(write_end.get(), number, O_CLOEXEC), number);
  backend->Submit(flush);
  backend->Drain();
  ASSERT_EQ(::dup3(file.get(), number, O_CLOEXEC), number);
  backend->Submit(flush);
  backend->Drain();
  backend->Take(&completions);

  ASSERT_EQ(completions.size(), 2);
  EXPECT_FALSE(completions[0].result);
  ASSERT_FALSE(completions[1].result);
  EXPECT_EQ(completions[1].result.error().message(), "sync disk: failed before");
}

}  // namespace
}  // namespace mayfly
