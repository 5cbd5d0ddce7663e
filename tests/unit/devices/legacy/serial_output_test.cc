#include "devices/legacy/serial_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <vector>

#include "base/unique_fd.h"
#include "tests/fakes/loop.h"

namespace mayfly {
namespace {

class SerialOutputTest : public testing::Test {
 protected:
  static constexpr size_t kPipeBytes = 4096;

  SerialOutputTest() {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    reader_ = UniqueFd(pipe[0]);
    writer_ = UniqueFd(pipe[1]);
    EXPECT_GT(::fcntl(writer_.get(), F_SETPIPE_SZ, kPipeBytes), 0);
  }
  // Everything that is in the pipe now, at most what it holds.
  std::vector<uint8_t> ReadPipe() {
    std::vector<uint8_t> bytes(kPipeBytes);
    const ssize_t count = ::read(reader_.get(), bytes.data(), bytes.size());
    bytes.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return bytes;
  }

  UniqueFd reader_;
  UniqueFd writer_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
};

TEST_F(SerialOutputTest, WritesAtOnceWhatTheReaderTakes) {
  SerialOutput output(writer_.get(), loop_.get());
  output.Write(std::vector<uint8_t>{'h', 'i'});
  EXPECT_EQ(ReadPipe(), (std::vector<uint8_t>{'h', 'i'}));
}

TEST_F(SerialOutputTest, TheLoopWritesWhatDidNotFit) {
  SerialOutput output(writer_.get(), loop_.get());
  output.Write(std::vector<uint8_t>(kPipeBytes + 10, 'x'));
  EXPECT_EQ(ReadPipe().size(), kPipeBytes);

  RunReady(loop_.get());

  EXPECT_EQ(ReadPipe().size(), 10);
  EXPECT_EQ(output.dropped(), 0);
}

// Case 48.
TEST_F(SerialOutputTest, GigabyteThatNobodyReadsIsDroppedButForTheLimit) {
  constexpr uint64_t kFlood = 1ULL << 30;
  SerialOutput output(writer_.get(), loop_.get());
  const std::vector<uint8_t> chunk(1 << 20, 'x');

  for (uint64_t written = 0; written < kFlood; written += chunk.size()) output.Write(chunk);

  EXPECT_EQ(output.dropped(), kFlood - SerialOutput::kMaxPending - kPipeBytes);
}

TEST_F(SerialOutputTest, ReaderThatIsGoneCostsTheGuestItsConsoleOnly) {
  (void)::signal(SIGPIPE, SIG_IGN);
  SerialOutput output(writer_.get(), loop_.get());
  reader_ = UniqueFd();

  output.Write(std::vector<uint8_t>(10, 'x'));
  output.Write(std::vector<uint8_t>(10, 'x'));

  EXPECT_EQ(output.dropped(), 20);
}

TEST_F(SerialOutputTest, WithoutADescriptorEverythingIsDropped) {
  SerialOutput output(-1, loop_.get());
  output.Write(std::vector<uint8_t>(10, 'x'));
  EXPECT_EQ(output.dropped(), 10);
}

}  // namespace
}  // namespace mayfly
