#include "snapshot/snapshot_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "base/file.h"
#include "snapshot/state_file.h"
#include "tests/unit/snapshot/sample_state.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;
// Two chunks, of which one is a hole and one has a page, and a third of one page.
constexpr uint64_t kSize = 2 * kChunk + kPage;

WorkingSet Recorded() { return {1, {{16, 1, true}, {32, 1, false}}}; }

// Runs `body` on a thread that has mounts of its own. False where that is not allowed.
bool InMountNamespace(const std::function<void()>& body) {
  bool entered = false;
  std::thread([&] {
    entered = ::unshare(CLONE_NEWNS) == 0 &&
              ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (entered) body();
  }).join();
  return entered;
}

class SnapshotDirectoryTest : public ::testing::Test {
 protected:
  SnapshotDirectoryTest() {
    EXPECT_TRUE(memory_->Fill(GuestAddress{kChunk}, 0x5a, kPage));
    EXPECT_TRUE(memory_->Fill(GuestAddress{2 * kChunk}, 0xa5, kPage));
  }

  [[nodiscard]] Result<void> Write(const std::string& path) const {
    return WriteSnapshot(path, Manifest{}, SampleState(kSize), *memory_, nullptr);
  }

  // A snapshot with a working set, at path_.
  void WriteWhole() const {
    const auto written = Write(path_);
    ASSERT_TRUE(written) << written.error().message();
    ASSERT_TRUE(WriteWorkingSet(path_, Recorded()));
  }

  [[nodiscard]] Result<void> OpenAndCheckAll() const {
    auto snapshot = TRY(Snapshot::Open(path_));
    TRY(snapshot.ReadWorkingSet());
    return snapshot.TakeMemory()->CheckAll();
  }

  void Remove(const std::string& member) const {
    ASSERT_EQ(::unlink((path_ + "/" + member).c_str()), 0);
  }

  Scratch scratch_;
  std::string path_ = scratch_ / "snap";
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kSize);
};

TEST_F(SnapshotDirectoryTest, SnapshotSurvives) {
  Manifest manifest;
  manifest.mayfly_version = "0.1.0";
  manifest.nets = {{"tap0"}};
  ASSERT_TRUE(WriteSnapshot(path_, manifest, SampleState(kSize), *memory_, nullptr));
  auto snapshot = Snapshot::Open(path_);
  ASSERT_TRUE(snapshot) << snapshot.error().message();
  EXPECT_EQ(snapshot->manifest().mayfly_version, "0.1.0");
  EXPECT_EQ(snapshot->manifest().nets, manifest.nets);
  EXPECT_EQ(snapshot->manifest().memory_bytes, kSize);
  EXPECT_EQ(snapshot->manifest().vcpus, 1u);
  EXPECT_EQ(snapshot->TakeState().virtio, SampleState().virtio);
  EXPECT_EQ(*snapshot->ReadWorkingSet(), std::nullopt);
  EXPECT_TRUE(snapshot->TakeMemory()->CheckAll());
}

TEST_F(SnapshotDirectoryTest, FilesAreForThisUserOnly) {
  WriteWhole();
  struct stat status{};
  ASSERT_EQ(::stat((path_ + "/memory").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(SnapshotDirectoryTest, WrittenMemoryCountsAsChecked) {
  const auto stamps = *VerifiedStamps::Open(scratch_ / "stamps");
  ASSERT_TRUE(WriteSnapshot(path_, Manifest{}, SampleState(kSize), *memory_, &stamps));
  auto snapshot = *Snapshot::Open(path_);
  const auto stamp =
      VerifiedStamps::StampOf(snapshot.TakeMemory()->layers().fds(), snapshot.manifest_digest());
  EXPECT_TRUE(stamps.Has(*stamp));
}

TEST_F(SnapshotDirectoryTest, WorkingSetIsReplaced) {
  WriteWhole();
  ASSERT_TRUE(WriteWorkingSet(path_ + "/", WorkingSet{}));
  EXPECT_EQ(*Snapshot::Open(path_)->ReadWorkingSet(), WorkingSet{});
  EXPECT_EQ(scratch_.CountEntries("snap"), 5u);
}

TEST_F(SnapshotDirectoryTest, ExistingTargetIsRefusedAndUntouched) {
  const std::string file = scratch_.Write("file", "contents");
  EXPECT_EQ(CodeOf(Write(file)), ErrorCode::kInvalidArgument);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(CodeOf(Write(path_)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(Write(path_ + "/")), path_ + ": already there"));
  ASSERT_EQ(::symlink("nowhere", (scratch_ / "link").c_str()), 0);
  EXPECT_EQ(CodeOf(Write(scratch_ / "link")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(scratch_.Read("file"), "contents");
  EXPECT_EQ(scratch_.CountEntries("snap"), 0u);
  EXPECT_EQ(scratch_.CountEntries("."), 3u);
}

TEST_F(SnapshotDirectoryTest, MissingParentIsRefused) {
  EXPECT_EQ(CodeOf(Write(scratch_ / "gone/snap")), ErrorCode::kNotFound);
  EXPECT_EQ(scratch_.CountEntries("."), 0u);
}

// What JSON cannot hold could be written, and never be read.
TEST_F(SnapshotDirectoryTest, NamesThatAreNoTextAreRefusedBeforeAnythingIsWritten) {
  Manifest manifest;
  manifest.disks = {{"/disk\xff", 512, false}};
  const auto written = WriteSnapshot(path_, manifest, SampleState(kSize), *memory_, nullptr);
  EXPECT_EQ(CodeOf(written), ErrorCode::kInvalidArgument);
  EXPECT_EQ(scratch_.CountEntries("."), 0u);
}

TEST_F(SnapshotDirectoryTest, ReadOnlyParentLeavesNothing) {
  const auto body = [this] {
    std::filesystem::create_directory(scratch_ / "mount");
    ASSERT_EQ(::mount("none", (scratch_ / "mount").c_str(), "tmpfs", MS_RDONLY, nullptr), 0);
    EXPECT_TRUE(Mentions(MessageOf(Write(scratch_ / "mount/snap")), "Read-only file system"));
    EXPECT_EQ(scratch_.CountEntries("mount"), 0u);
  };
  if (!InMountNamespace(body)) GTEST_SKIP() << "needs root for a mount namespace";
}

TEST_F(SnapshotDirectoryTest, FullFileSystemLeavesNothing) {
  const auto body = [this] {
    std::filesystem::create_directory(scratch_ / "mount");
    // Both pages of memory fit and nothing else does.
    ASSERT_EQ(::mount("none", (scratch_ / "mount").c_str(), "tmpfs", 0, "size=8k"), 0);
    EXPECT_TRUE(Mentions(MessageOf(Write(scratch_ / "mount/snap")), "No space left on device"));
    EXPECT_EQ(scratch_.CountEntries("mount"), 0u);
    // Not even those.
    ASSERT_EQ(::mount("none", (scratch_ / "mount").c_str(), "tmpfs", 0, "size=4k"), 0);
    EXPECT_TRUE(Mentions(MessageOf(Write(scratch_ / "mount/snap")), "No space left on device"));
    EXPECT_EQ(scratch_.CountEntries("mount"), 0u);
  };
  if (!InMountNamespace(body)) GTEST_SKIP() << "needs root for a mount namespace";
}

TEST_F(SnapshotDirectoryTest, FullFileSystemLeavesTheOldWorkingSet) {
  const auto body = [this] {
    std::filesystem::create_directory(scratch_ / "mount");
    // The snapshot takes seven pages with its working set.
    ASSERT_EQ(::mount("none", (scratch_ / "mount").c_str(), "tmpfs", 0, "size=36k"), 0);
    path_ = scratch_ / "mount/snap";
    WriteWhole();
    WorkingSet large;
    large.runs.resize(2000, {0, 1, false});
    EXPECT_TRUE(Mentions(MessageOf(WriteWorkingSet(path_, large)), "No space left on device"));
    EXPECT_EQ(*Snapshot::Open(path_)->ReadWorkingSet(), Recorded());
    EXPECT_EQ(scratch_.CountEntries("mount/snap"), 5u);
  };
  if (!InMountNamespace(body)) GTEST_SKIP() << "needs root for a mount namespace";
}

TEST_F(SnapshotDirectoryTest, MissingFilesAreNamed) {
  WriteWhole();
  EXPECT_EQ(CodeOf(Snapshot::Open(scratch_ / "gone")), ErrorCode::kNotFound);
  Remove("memory.digests");
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "memory.digests: No such file"));
  EXPECT_EQ(CodeOf(Snapshot::Open(path_)), ErrorCode::kNotFound);
  Remove("state");
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "state: No such file"));
}

// None of them is followed, waited for or read from.
TEST_F(SnapshotDirectoryTest, LinksFifosAndDirectoriesAreRefused) {
  WriteWhole();
  ASSERT_EQ(::rename((path_ + "/memory").c_str(), (scratch_ / "memory").c_str()), 0);
  ASSERT_EQ(::symlink("../memory", (path_ + "/memory").c_str()), 0);
  EXPECT_EQ(CodeOf(Snapshot::Open(path_)), ErrorCode::kCorrupt);
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "memory: not a regular file"));
  Remove("state");
  ASSERT_EQ(::mkfifo((path_ + "/state").c_str(), 0600), 0);
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "state: not a regular file"));
  Remove("manifest.json");
  std::filesystem::create_directory(path_ + "/manifest.json");
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "manifest.json: not a regular file"));
}

TEST_F(SnapshotDirectoryTest, FilesThatAreTooLargeAreNotRead) {
  WriteWhole();
  ASSERT_EQ(::truncate((path_ + "/state").c_str(), StateFile::kMostBytes + 1), 0);
  EXPECT_EQ(CodeOf(Snapshot::Open(path_)), ErrorCode::kCorrupt);
  ASSERT_EQ(::truncate((path_ + "/manifest.json").c_str(), 1LL << 40), 0);
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "262144 are possible"));
}

TEST_F(SnapshotDirectoryTest, StateOfAnotherSnapshotIsRefused) {
  WriteWhole();
  MachineState other = SampleState(kSize);
  other.clock_ns += 1;
  ASSERT_TRUE(WriteSnapshot(scratch_ / "other", Manifest{}, other, *memory_, nullptr));
  ASSERT_EQ(::rename((scratch_ / "other/state").c_str(), (path_ + "/state").c_str()), 0);
  EXPECT_TRUE(
      Mentions(MessageOf(Snapshot::Open(path_)), "not the one that the manifest describes"));
}

TEST_F(SnapshotDirectoryTest, StateOfAnotherMemorySizeIsRefused) {
  ASSERT_TRUE(WriteSnapshot(path_, Manifest{}, SampleState(kPage), *memory_, nullptr));
  EXPECT_EQ(CodeOf(Snapshot::Open(path_)), ErrorCode::kCorrupt);
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(path_)), "4096 bytes of memory and 1 vcpus"));
}

// 5,000 damages each of two files: one byte anywhere becomes another.
TEST_F(SnapshotDirectoryTest, EveryOneOf10000RandomDamagesIsFound) {
  WriteWhole();
  ASSERT_TRUE(OpenAndCheckAll());
  std::seed_seq seed{1};  // The same damages each time.
  std::mt19937_64 random(seed);
  for (const std::string name : {"memory", "working-set"}) {
    const UniqueFd fd = *OpenFile(path_ + "/" + name, O_RDWR);
    const uint64_t size = *FileSize(fd.get(), name);
    for (int i = 0; i < 5000; ++i) {
      const auto offset = static_cast<off_t>(random() % size);
      uint8_t byte = 0;
      ASSERT_EQ(::pread(fd.get(), &byte, 1, offset), 1);
      const auto damaged = static_cast<uint8_t>(byte + 1 + random() % 255);
      ASSERT_EQ(::pwrite(fd.get(), &damaged, 1, offset), 1);
      ASSERT_EQ(CodeOf(OpenAndCheckAll()), ErrorCode::kCorrupt) << name << " at " << offset;
      ASSERT_EQ(::pwrite(fd.get(), &byte, 1, offset), 1);
    }
  }
  EXPECT_TRUE(OpenAndCheckAll());
}

}  // namespace
}  // namespace mayfly
