#include "snapshot/verified_stamp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr Sha256Digest kManifest{1};
constexpr Sha256Digest kOtherManifest{2};

// A file that was last changed in 1970, so that a change now is seen whatever a clock tick is.
class VerifiedStampsTest : public ::testing::Test {
 protected:
  VerifiedStampsTest() { SetModified(0); }

  void SetModified(time_t seconds) const {
    const std::array<timespec, 2> times{{{0, UTIME_OMIT}, {seconds, 0}}};
    EXPECT_EQ(::futimens(file_.get(), times.data()), 0);
  }

  [[nodiscard]] std::string Stamp(const Sha256Digest& manifest = kManifest) const {
    return *VerifiedStamps::StampOf(std::array{file_.get()}, manifest);
  }

  Scratch scratch_;
  UniqueFd file_ = *OpenFile(scratch_.Write("memory", "contents"), O_RDWR);
  VerifiedStamps stamps_ = *VerifiedStamps::Open(scratch_ / "cache/stamps");
};

TEST_F(VerifiedStampsTest, FileHasNoStampAtFirst) { EXPECT_FALSE(stamps_.Has(Stamp())); }

TEST_F(VerifiedStampsTest, StampIsForOneManifest) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  EXPECT_TRUE(stamps_.Has(Stamp()));
  EXPECT_FALSE(stamps_.Has(Stamp(kOtherManifest)));
}

TEST_F(VerifiedStampsTest, StampsAreThereForTheNextProcess) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  EXPECT_TRUE(VerifiedStamps::Open(scratch_ / "cache/stamps")->Has(Stamp()));
}

TEST_F(VerifiedStampsTest, AddingTwiceIsFine) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  EXPECT_TRUE(stamps_.Add(Stamp()));
}

TEST_F(VerifiedStampsTest, ChangedFileHasNone) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  ASSERT_EQ(::pwrite(file_.get(), "C", 1, 0), 1);
  EXPECT_FALSE(stamps_.Has(Stamp()));
}

// While it is read, say.
TEST_F(VerifiedStampsTest, FileThatChangesBeforeTheStampIsAddedHasNone) {
  const std::string stamp = Stamp();
  ASSERT_EQ(::pwrite(file_.get(), "C", 1, 0), 1);
  ASSERT_TRUE(stamps_.Add(stamp));
  EXPECT_FALSE(stamps_.Has(Stamp()));
}

TEST_F(VerifiedStampsTest, ShortenedFileHasNone) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  ASSERT_EQ(::ftruncate(file_.get(), 1), 0);
  EXPECT_FALSE(stamps_.Has(Stamp()));
}

TEST_F(VerifiedStampsTest, ChangedFileWithItsOldTimeHasNone) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  ::usleep(20'000);  // More than a tick of the clock that the file's times are from.
  ASSERT_EQ(::pwrite(file_.get(), "C", 1, 0), 1);
  SetModified(0);
  EXPECT_FALSE(stamps_.Has(Stamp()));
}

TEST_F(VerifiedStampsTest, CopyHasNone) {
  ASSERT_TRUE(stamps_.Add(Stamp()));
  const UniqueFd copy = *OpenFile(scratch_.Write("copy", "contents"), O_RDWR);
  EXPECT_FALSE(stamps_.Has(*VerifiedStamps::StampOf(std::array{copy.get()}, kManifest)));
}

TEST_F(VerifiedStampsTest, DirectoryIsForThisUserOnly) {
  struct stat status{};
  ASSERT_EQ(::stat((scratch_ / "cache/stamps").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(VerifiedStampsTest, DirectoryThatOthersCanWriteToIsRefused) {
  const std::string directory = scratch_ / "cache/stamps";
  ASSERT_EQ(::chmod(directory.c_str(), 0702), 0);
  EXPECT_EQ(CodeOf(VerifiedStamps::Open(directory)), ErrorCode::kPermission);
  ASSERT_EQ(::chmod(directory.c_str(), 0720), 0);
  EXPECT_EQ(CodeOf(VerifiedStamps::Open(directory)), ErrorCode::kPermission);
}

TEST_F(VerifiedStampsTest, LinkInPlaceOfTheDirectoryIsRefused) {
  ASSERT_EQ(::symlink((scratch_ / "cache/stamps").c_str(), (scratch_ / "link").c_str()), 0);
  EXPECT_EQ(CodeOf(VerifiedStamps::Open(scratch_ / "link")), ErrorCode::kPermission);
}

TEST_F(VerifiedStampsTest, DirectoryOfSomebodyElseIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a directory away";
  const std::string directory = scratch_ / "cache/stamps";
  ASSERT_EQ(::chown(directory.c_str(), 65534, 65534), 0);
  EXPECT_EQ(CodeOf(VerifiedStamps::Open(directory)), ErrorCode::kPermission);
}

}  // namespace
}  // namespace mayfly
