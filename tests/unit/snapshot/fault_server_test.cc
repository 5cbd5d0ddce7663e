#include "snapshot/fault_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/mutex.h"
#include "snapshot/local_pager.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kSize = 8 << 20;

// Fills every page with the low byte of its number, and remembers what it was asked for.
class NumberedPages final : public PageSource {
 public:
  struct Fills {
    Mutex mutex;
    std::vector<PageRange> ranges GUARDED_BY(mutex);    // Of the image.
    uint64_t refused GUARDED_BY(mutex) = ~uint64_t{0};  // Page that cannot be had.
  };
  explicit NumberedPages(Fills* fills) : fills_(fills) {}

  Result<void> Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                    uint64_t length) override {
    {
      MutexLock lock(fills_->mutex);
      if (fills_->refused * kPage >= offset && fills_->refused * kPage < offset + length) {
        return mayfly::Fail(ErrorCode::kCorrupt, "no such page");
      }
      fills_->ranges.push_back({offset, offset + length});
    }
    std::vector<uint8_t> contents(length);
    for (uint64_t i = 0; i < length; ++i) {
      contents[i] = static_cast<uint8_t>((offset + i) / kPage);
    }
    return uffd.Copy(to, contents);
  }

 private:
  Fills* const fills_;
};

class FaultServerTest : public testing::Test {
 protected:
  void Start(const FaultServerOptions& options = {}) {
    auto pager = LocalPager::Create(memory_.get(), Userfaultfd::Mode::kMissing,
                                    std::make_unique<NumberedPages>(&fills_), options);
    if (!pager) GTEST_SKIP() << pager.error().message();
    pager_ = std::move(*pager);
  }

  uint8_t ByteOf(uint64_t page) {
    uint8_t byte = 0xee;
    EXPECT_TRUE(memory_->ReadValue(GuestAddress{page * kPage}, &byte));
    return byte;
  }

  void Refuse(uint64_t page) {
    MutexLock lock(fills_.mutex);
    fills_.refused = page;
  }

  std::vector<PageRange> Filled() {
    MutexLock lock(fills_.mutex);
    return fills_.ranges;
  }

  // The pages that were filled, at least `pages` of them, which a thread may still be doing.
  uint64_t WaitForPages(uint64_t pages) {
    uint64_t sum = 0;
    while (sum < pages) {
      std::this_thread::yield();
      sum = 0;
      for (const PageRange& range : Filled()) sum += (range.end - range.start) / kPage;
    }
    return sum;
  }

  NumberedPages::Fills fills_;
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kSize);
  std::unique_ptr<LocalPager> pager_;
};

TEST_F(FaultServerTest, AFaultIsFilledWithTheAlignedRunAroundIt) {
  Start();
  EXPECT_EQ(ByteOf(37), 37);
  EXPECT_EQ(Filled(), (std::vector<PageRange>{{32 * kPage, 48 * kPage}}));
}

TEST_F(FaultServerTest, ARunIsAsLongAsWasAskedFor) {
  Start({.run_bytes = kPage});
  EXPECT_EQ(ByteOf(37), 37);
  EXPECT_EQ(Filled(), (std::vector<PageRange>{{37 * kPage, 38 * kPage}}));
}

TEST_F(FaultServerTest, TheFirstStageIsThereWhenPushAheadReturns) {
  Start();
  ASSERT_TRUE(pager_->PushAhead({1, {{3, 2, false}}}));
  EXPECT_EQ(ByteOf(4), 4);
  EXPECT_EQ(pager_->fault_count(), 0);
}

TEST_F(FaultServerTest, ALongRunIsPushedInPiecesBetweenWhichFaultsAreAnswered) {
  Start();
  ASSERT_TRUE(pager_->PushAhead({0, {{0, 1000, false}, {1500, 3, true}}}));
  EXPECT_EQ(WaitForPages(1003), 1003);
  for (const PageRange& range : Filled()) EXPECT_LE(range.end - range.start, 16 * kPage);
  EXPECT_EQ(ByteOf(1502), 1502 % 256);
  EXPECT_EQ(pager_->fault_count(), 0);
}

TEST_F(FaultServerTest, FaultsAreRecordedInTheirOrder) {
  Start({.run_bytes = kPage, .record = true});
  ByteOf(9);
  ByteOf(10);
  // As a guest writes: in a build with sanitizers, GuestMemory looks at a page before it writes.
  volatile uint8_t* const page = memory_->regions().front().host + 4 * kPage;
  *page = 1;
  const WorkingSet record = pager_->TakeRecord();
  EXPECT_EQ(record.runs, (std::vector<WorkingSetRun>{{9, 2, false}, {4, 1, true}}));
}

TEST_F(FaultServerTest, APageThatCannotBeHadIsRefusedToWhoWaitsForIt) {
  Refuse(5);
  Start({.run_bytes = kPage});
  std::vector<uint64_t> lost;
  memory_->OnLost([&](GuestAddress address) { lost.push_back(address.value); });
  uint8_t byte = 0;
  EXPECT_FALSE(memory_->ReadValue(GuestAddress{5 * kPage}, &byte));
  EXPECT_EQ(lost, (std::vector<uint64_t>{5 * kPage}));
  EXPECT_EQ(ByteOf(6), 6);
  const auto begun = pager_->Begin([](const Error&) {});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code(), ErrorCode::kCorrupt);
}

TEST_F(FaultServerTest, ALaterFailureIsToldOnce) {
  Refuse(5);
  Start({.run_bytes = kPage});
  int told = 0;
  ASSERT_TRUE(pager_->Begin([&](const Error&) { ++told; }));
  uint8_t byte = 0;
  EXPECT_FALSE(memory_->ReadValue(GuestAddress{5 * kPage}, &byte));
  Refuse(6);
  EXPECT_FALSE(memory_->ReadValue(GuestAddress{6 * kPage}, &byte));
  pager_.reset();
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace mayfly
