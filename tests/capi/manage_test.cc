#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

class ApiManageTest : public ApiFixture {
 protected:
  // A directory with nothing in it.
  static std::string EmptyDirectory(const std::string& name) {
    const std::string path = PathFor(name);
    fs::remove_all(path);
    fs::create_directory(path);
    return path;
  }
  // A snapshot that nobody else uses.
  static std::string CopyOfSnapshot(const std::string& path) {
    fs::copy(SnapshotPath(), path);
    return path;
  }
  [[nodiscard]] std::string Describe(const std::string& path) const {
    size_t size = 0;
    EXPECT_EQ(mayfly_snapshot_describe(lib_, path.c_str(), nullptr, &size), MAYFLY_E_BUFFER)
        << ErrorOf(lib_);
    std::string json(size, '\0');
    EXPECT_EQ(mayfly_snapshot_describe(lib_, path.c_str(), json.data(), &size), MAYFLY_OK);
    return json;
  }
  // A clone that can be saved over what it was restored from.
  [[nodiscard]] mayfly_function* CloneToSave(const std::string& path, bool from_pool) const {
    mayfly_snapshot* snapshot = nullptr;
    EXPECT_EQ(mayfly_snapshot_open(lib_, path.c_str(), nullptr, &snapshot), MAYFLY_OK)
        << ErrorOf(lib_);
    mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
    restore.snapshot = 1;
    if (from_pool) {
      mayfly_pool_options shells = MAYFLY_POOL_OPTIONS_INIT;
      shells.count = 1;
      EXPECT_EQ(mayfly_pool_create(snapshot, &shells, &restore.pool), MAYFLY_OK);
    }
    mayfly_function* clone = nullptr;
    EXPECT_EQ(mayfly_restore(snapshot, &restore, &clone), MAYFLY_OK) << ErrorOf(snapshot);
    if (from_pool) {
      EXPECT_EQ(mayfly_pool_available(restore.pool), 0);
      EXPECT_EQ(mayfly_pool_close(restore.pool), MAYFLY_OK);
    }
    EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
    return clone;
  }
  // Saves a clone of `parent` over it, which has had `event`: the guest keeps the last one.
  void MakeLayer(const std::string& parent, const std::string& path, bool from_pool,
                 const std::string& event = "warm") const {
    mayfly_function* const clone = CloneToSave(parent, from_pool);
    EXPECT_EQ(Invoke(clone, event), event);
    EXPECT_EQ(mayfly_function_snapshot(clone, parent.c_str()), MAYFLY_E_INVALID);
    ASSERT_EQ(mayfly_function_snapshot(clone, path.c_str()), MAYFLY_OK) << ErrorOf(clone);
    mayfly_saved saved = MAYFLY_SAVED_INIT;
    EXPECT_EQ(mayfly_function_saved(clone, &saved), MAYFLY_OK);
    EXPECT_LT(saved.data_bytes, DataBytes(parent));
    EXPECT_EQ(mayfly_function_snapshot(clone, path.c_str()), MAYFLY_E_STATE);
    EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  }
  // Of a snapshot's memory, with all that it lies over, what is not in holes.
  [[nodiscard]] uint64_t DataBytes(const std::string& path) const {
    const std::string json = Describe(path);
    const std::string key = "\"data_bytes\":";
    return std::stoull(json.substr(json.find(key) + key.size()));
  }
  // Whether a clone of the snapshot would find `text` in its memory.
  [[nodiscard]] bool Remembers(const std::string& path, const std::string& text) const {
    const std::string flat = path + ".flat";
    EXPECT_EQ(mayfly_snapshot_flatten(lib_, path.c_str(), flat.c_str()), MAYFLY_OK)
        << ErrorOf(lib_);
    std::ifstream file(flat + "/memory", std::ios::binary);
    const std::string memory{std::istreambuf_iterator<char>(file), {}};
    fs::remove_all(flat);
    return memory.find(text) != std::string::npos;
  }

  struct Found {
    int fate;
    std::string name;

    bool operator==(const Found&) const = default;
  };
  // What a collection finds, in the order of the names.
  [[nodiscard]] std::vector<Found> Collect(const std::string& directory,
                                           mayfly_collect_options options) const {
    std::vector<Found> found;
    options.found = [](void* user, int fate, const char* name, const char* /*what*/) {
      static_cast<std::vector<Found>*>(user)->push_back({fate, name});
    };
    options.user = &found;
    EXPECT_EQ(mayfly_snapshot_collect(lib_, directory.c_str(), &options), MAYFLY_OK)
        << ErrorOf(lib_);
    std::ranges::sort(found, {}, &Found::name);
    return found;
  }
};

TEST_F(ApiManageTest, DescriptionIsJson) {
  const std::string json = Describe(SnapshotPath());
  EXPECT_EQ(json.front(), '{');
  EXPECT_EQ(json.back(), '}');
  EXPECT_NE(json.find("\"memory_bytes\":134217728"), std::string::npos) << json;
  EXPECT_NE(json.find("\"name\":\"echo-c\""), std::string::npos) << json;
}

TEST_F(ApiManageTest, MissingSnapshotIsNotFoundAndNamed) {
  size_t size = 0;
  EXPECT_EQ(mayfly_snapshot_describe(lib_, "/nowhere", nullptr, &size), MAYFLY_E_NOT_FOUND);
  EXPECT_NE(ErrorOf(lib_).find("/nowhere"), std::string::npos);
  EXPECT_EQ(mayfly_snapshot_verify(lib_, "/nowhere"), MAYFLY_E_NOT_FOUND);
  EXPECT_EQ(mayfly_snapshot_flatten(lib_, "/nowhere", PathFor("flat").c_str()), MAYFLY_E_NOT_FOUND);
  EXPECT_FALSE(fs::exists(PathFor("flat")));
}

TEST_F(ApiManageTest, VerificationFindsADamagedPage) {
  const std::string directory = EmptyDirectory("verify");
  const std::string path = CopyOfSnapshot(directory + "/copy");
  EXPECT_EQ(mayfly_snapshot_verify(lib_, path.c_str()), MAYFLY_OK) << ErrorOf(lib_);
  {
    // The first page of the kernel's.
    std::fstream file(path + "/memory", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(1 << 20);
    const int byte = file.get();
    file.seekp(1 << 20);
    file.put(static_cast<char>(byte ^ 1));
  }
  EXPECT_EQ(mayfly_snapshot_verify(lib_, path.c_str()), MAYFLY_E_CORRUPT);
  EXPECT_NE(ErrorOf(lib_).find(path), std::string::npos) << ErrorOf(lib_);
}

TEST_F(ApiManageTest, CloneIsSavedOverItsSnapshot) {
  const std::string directory = EmptyDirectory("layers");
  const std::string parent = CopyOfSnapshot(directory + "/parent");
  const std::string layer = directory + "/layer";
  MakeLayer(parent, layer, false, "remembered by the layer");
  EXPECT_FALSE(Remembers(parent, "remembered by the layer"));
  EXPECT_TRUE(Remembers(layer, "remembered by the layer"));
  EXPECT_NE(Describe(layer).find("\"parents\":1"), std::string::npos) << Describe(layer);
  EXPECT_EQ(mayfly_snapshot_verify(lib_, layer.c_str()), MAYFLY_OK) << ErrorOf(lib_);
  ExpectCloneEchoes(layer, "over it");

  const std::string upper = directory + "/upper";
  MakeLayer(layer, upper, false);
  EXPECT_NE(Describe(upper).find("\"parents\":2"), std::string::npos) << Describe(upper);
  const std::string flat = directory + "/flat";
  ASSERT_EQ(mayfly_snapshot_flatten(lib_, upper.c_str(), flat.c_str()), MAYFLY_OK) << ErrorOf(lib_);
  EXPECT_EQ(mayfly_snapshot_flatten(lib_, upper.c_str(), flat.c_str()), MAYFLY_E_INVALID);
  EXPECT_EQ(Describe(flat).find("\"parent\""), std::string::npos) << Describe(flat);
  fs::remove_all(parent);
  EXPECT_EQ(mayfly_snapshot_verify(lib_, upper.c_str()), MAYFLY_E_NOT_FOUND);
  ExpectCloneEchoes(flat, "alone");
}

TEST_F(ApiManageTest, CloneInAShellIsSavedOverItsSnapshot) {
  const std::string directory = EmptyDirectory("shells");
  const std::string parent = CopyOfSnapshot(directory + "/parent");
  MakeLayer(parent, directory + "/layer", true, "remembered in a shell");
  EXPECT_TRUE(Remembers(directory + "/layer", "remembered in a shell"));
  ExpectCloneEchoes(directory + "/layer", "over it");
}

TEST_F(ApiManageTest, CloneWithAWorkingSetIsSavedOverItsSnapshot) {
  const std::string directory = EmptyDirectory("working-set");
  const std::string parent = CopyOfSnapshot(directory + "/parent");
  mayfly_snapshot* snapshot = nullptr;
  ASSERT_EQ(mayfly_snapshot_open(lib_, parent.c_str(), nullptr, &snapshot), MAYFLY_OK);
  mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
  restore.memory = MAYFLY_MEMORY_UFFD;
  restore.record = 1;
  mayfly_function* clone = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, &restore, &clone), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(Invoke(clone, "recorded"), "recorded");
  EXPECT_EQ(mayfly_function_record(clone, parent.c_str()), MAYFLY_OK) << ErrorOf(clone);
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  EXPECT_EQ(Describe(parent).find("\"working_set_pages\":0"), std::string::npos);

  MakeLayer(parent, directory + "/layer", false, "remembered ahead");
  EXPECT_TRUE(Remembers(directory + "/layer", "remembered ahead"));
}

TEST_F(ApiManageTest, DamageOfAParentIsNotVouchedFor) {
  const std::string directory = EmptyDirectory("vouched");
  const std::string parent = CopyOfSnapshot(directory + "/parent");
  mayfly_function* const clone = CloneToSave(parent, false);
  {
    // In each chunk that is no hole.
    constexpr size_t kChunk = 64 << 10;
    std::fstream file(parent + "/memory", std::ios::in | std::ios::out | std::ios::binary);
    std::string chunk(kChunk, '\0');
    for (size_t at = 0; at < fs::file_size(parent + "/memory"); at += kChunk) {
      file.seekg(static_cast<std::streamoff>(at));
      file.read(chunk.data(), kChunk);
      const size_t byte = chunk.find_first_not_of('\0');
      if (byte == std::string::npos) continue;
      file.seekp(static_cast<std::streamoff>(at + byte));
      file.put(static_cast<char>(chunk[byte] ^ 0x80));
    }
  }
  const std::string layer = directory + "/layer";
  EXPECT_EQ(mayfly_function_snapshot(clone, layer.c_str()), MAYFLY_E_CORRUPT);
  EXPECT_NE(ErrorOf(clone).find("the parent's memory"), std::string::npos) << ErrorOf(clone);
  EXPECT_FALSE(fs::exists(layer));
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
}

TEST_F(ApiManageTest, ParentThatWasReplacedIsRefused) {
  const std::string directory = EmptyDirectory("replaced");
  const std::string parent = CopyOfSnapshot(directory + "/parent");
  MakeLayer(parent, directory + "/upper", false);
  ASSERT_EQ(
      mayfly_snapshot_flatten(lib_, (directory + "/upper").c_str(), (directory + "/other").c_str()),
      MAYFLY_OK);
  mayfly_function* const clone = CloneToSave(parent, false);
  fs::rename(parent, directory + "/moved");
  fs::rename(directory + "/other", parent);
  EXPECT_EQ(mayfly_function_snapshot(clone, (directory + "/layer").c_str()), MAYFLY_E_INVALID);
  EXPECT_NE(ErrorOf(clone).find("/parent: another snapshot"), std::string::npos) << ErrorOf(clone);
  EXPECT_FALSE(fs::exists(directory + "/layer"));
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
}

TEST_F(ApiManageTest, OnlyAMappedCloneIsSaved) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
  restore.snapshot = 1;
  mayfly_function* clone = nullptr;
  for (const int memory : {MAYFLY_MEMORY_UFFD, MAYFLY_MEMORY_EAGER}) {
    restore.memory = memory;
    EXPECT_EQ(mayfly_restore(snapshot, &restore, &clone), MAYFLY_E_INVALID);
  }
  restore.memory = MAYFLY_MEMORY_MAP;
  restore.reserved = 1;
  EXPECT_EQ(mayfly_restore(snapshot, &restore, &clone), MAYFLY_E_UNSUPPORTED);
  ASSERT_EQ(mayfly_restore(snapshot, nullptr, &clone), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_snapshot(clone, PathFor("never").c_str()), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiManageTest, CollectionKeepsWhatIsNamedAndWhatThatLiesOver) {
  const std::string directory = EmptyDirectory("garbage");
  CopyOfSnapshot(directory + "/parent");
  MakeLayer(directory + "/parent", directory + "/layer", false);
  CopyOfSnapshot(directory + "/old");
  mayfly_collect_options options = MAYFLY_COLLECT_OPTIONS_INIT;
  EXPECT_TRUE(Collect(directory, options).empty());

  const char* keep[] = {"layer"};
  options.keep = keep;
  options.keep_count = 1;
  options.dry_run = 1;
  const std::vector<Found> old{{MAYFLY_GARBAGE_REMOVED, "old"}};
  EXPECT_EQ(Collect(directory, options), old);
  EXPECT_TRUE(fs::exists(directory + "/old"));
  options.dry_run = 0;
  EXPECT_EQ(Collect(directory, options), old);
  EXPECT_FALSE(fs::exists(directory + "/old"));
  ExpectCloneEchoes(directory + "/layer", "kept");
}

TEST_F(ApiManageTest, CollectionLeavesWhatItCannotRead) {
  const std::string directory = EmptyDirectory("damaged");
  CopyOfSnapshot(directory + "/good");
  CopyOfSnapshot(directory + "/bad");
  std::ofstream(directory + "/bad/manifest.json") << "{";
  mayfly_collect_options options = MAYFLY_COLLECT_OPTIONS_INIT;
  const char* keep[] = {"good"};
  options.keep = keep;
  options.keep_count = 1;
  const std::vector<Found> bad{{MAYFLY_GARBAGE_DAMAGED, "bad"}};
  EXPECT_EQ(Collect(directory, options), bad);
  EXPECT_TRUE(fs::exists(directory + "/bad"));
}

TEST_F(ApiManageTest, CollectionLeavesWhatAHandleHasOpen) {
  const std::string directory = EmptyDirectory("open");
  CopyOfSnapshot(directory + "/good");
  const std::string old = CopyOfSnapshot(directory + "/old");
  mayfly_collect_options options = MAYFLY_COLLECT_OPTIONS_INIT;
  const char* keep[] = {"good"};
  options.keep = keep;
  options.keep_count = 1;
  const std::vector<Found> in_use{{MAYFLY_GARBAGE_IN_USE, "old"}};
  mayfly_snapshot* snapshot = nullptr;
  ASSERT_EQ(mayfly_snapshot_open(lib_, old.c_str(), nullptr, &snapshot), MAYFLY_OK);
  EXPECT_EQ(Collect(directory, options), in_use);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);

  mayfly_function* const clone = CloneToSave(old, false);
  EXPECT_EQ(Collect(directory, options), in_use);
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  const std::vector<Found> removed{{MAYFLY_GARBAGE_REMOVED, "old"}};
  EXPECT_EQ(Collect(directory, options), removed);
}

TEST_F(ApiManageTest, CollectionRemovesWhatHasLostItsParent) {
  const std::string elsewhere = EmptyDirectory("elsewhere");
  const std::string directory = EmptyDirectory("orphans");
  MakeLayer(CopyOfSnapshot(elsewhere + "/parent"), directory + "/orphan", false);
  fs::remove_all(elsewhere);
  CopyOfSnapshot(directory + "/good");
  CopyOfSnapshot(directory + "/old");
  mayfly_collect_options options = MAYFLY_COLLECT_OPTIONS_INIT;
  const char* keep[] = {"good"};
  options.keep = keep;
  options.keep_count = 1;
  const std::vector<Found> removed{{MAYFLY_GARBAGE_REMOVED, "old"},
                                   {MAYFLY_GARBAGE_REMOVED, "orphan"}};
  EXPECT_EQ(Collect(directory, options), removed);
}

TEST_F(ApiManageTest, CollectionThatWouldLoseEverythingByMistakeIsRefused) {
  const std::string directory = EmptyDirectory("mistakes");
  CopyOfSnapshot(directory + "/only");
  mayfly_collect_options options = MAYFLY_COLLECT_OPTIONS_INIT;
  const char* keep[] = {"onyl"};
  options.keep = keep;
  EXPECT_EQ(mayfly_snapshot_collect(lib_, directory.c_str(), &options), MAYFLY_E_INVALID);
  options.keep_count = 1;
  EXPECT_EQ(mayfly_snapshot_collect(lib_, directory.c_str(), &options), MAYFLY_E_NOT_FOUND);
  options.keep_count = 1'000'001;
  EXPECT_EQ(mayfly_snapshot_collect(lib_, directory.c_str(), &options), MAYFLY_E_TOO_LARGE);
  options.keep = nullptr;
  EXPECT_EQ(mayfly_snapshot_collect(lib_, directory.c_str(), &options), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_snapshot_collect(lib_, nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_TRUE(fs::exists(directory + "/only"));
}

}  // namespace
}  // namespace mayfly
