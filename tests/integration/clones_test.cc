#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/bytes.h"
#include "base/file.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_writer.h"
#include "tests/integration/machine_fixture.h"
#include "tests/support/memory_use.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {
namespace {

// What a guest finds in its restore page from the generation on.
struct Identity {
  uint64_t generation;
  uint64_t wall_clock_ns;
  std::array<uint8_t, 64> entropy;
};
static_assert(sizeof(Identity) == 80);

size_t EntriesOf(const std::string& directory) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

// Of this process: its own memory, in bytes.
uint64_t AnonymousBytes() {
  std::ifstream status("/proc/self/status");
  std::string key;
  uint64_t kib = 0;
  while (status >> key) {
    if (key == "RssAnon:") status >> kib;
  }
  return kib << 10;
}

// A function's machine and its clones, natively: the test guest "control" speaks with its host as
// mayfly-init does.
class ClonesTest : public MachineFixture {
 protected:
  void SetUp() override {
    MachineFixture::SetUp();
    if (IsSkipped()) return;
    WriteFile("image", std::string(4096, '\0'));
    FunctionMachineConfig config;
    config.description = Description();
    config.image_name = "image";
    config.image = OpenFile(PathFor("image"), O_RDONLY).value();
    config.kernel = std::string(MAYFLY_TEST_GUESTS) + "/control";
    config.snapshot = true;
    auto machine = FunctionMachine::Boot(std::move(config), {}, nullptr);
    ASSERT_TRUE(machine) << machine.error().message();
    const auto loaded = (*machine)->Load();
    ASSERT_TRUE(loaded) << loaded.error().message();
    const auto saved = (*machine)->SaveSnapshot(SnapshotWriter::Create(PathFor("snap")).value(),
                                                Manifest{}, nullptr);
    ASSERT_TRUE(saved) << saved.error().message();
  }

  static FunctionDescription Description() {
    FunctionDescription description;
    description.name = "control";
    description.memory_mib = 64;
    return description;
  }

  [[nodiscard]] Result<std::unique_ptr<FunctionMachine>> Clone(
      const std::optional<std::array<uint8_t, 64>>& entropy = std::nullopt) const {
    Snapshot snapshot = TRY(Snapshot::Open(PathFor("snap")));
    MemoryOptions options{MemoryWay::kMap};
    options.unverified = true;
    RestoredMemory memory = TRY(RestoreMemory(snapshot.TakeMemory(), options));
    FunctionCloneConfig config;
    config.description = Description();
    config.image_name = "image";
    config.image = TRY(OpenFile(PathFor("image"), O_RDONLY));
    config.entropy = entropy;
    return FunctionMachine::Restore(std::move(config), snapshot.TakeState(), std::move(memory), {},
                                    nullptr);
  }

  // What it answers; what went wrong if nothing.
  static std::string Ask(FunctionMachine& machine, const std::string& event) {
    const auto result = machine.Invoke(AsBytes(event), {"request", std::chrono::seconds(60)});
    if (!result) return "failed: " + result.error().message();
    return std::string(AsText(result->answer));
  }

  void RestoreAndAsk(int first, int count) const {
    for (int i = first; i < first + count; ++i) {
      const auto clone = Clone();
      ASSERT_TRUE(clone) << i << ": " << clone.error().message();
      const std::string event = "event " + std::to_string(i);
      ASSERT_EQ(Ask(**clone, event), event);
    }
  }
};

TEST_F(ClonesTest, AThousandRestoresInARowLeakNothing) {
  const int count = static_cast<int>(CountFromEnvironment("MAYFLY_TEST_RESTORES", 1000));
  RestoreAndAsk(0, 20);
  const size_t descriptors = EntriesOf("/proc/self/fd");
  const size_t threads = EntriesOf("/proc/self/task");
  const size_t files = EntriesOf(PathFor("."));
  const uint64_t memory = AnonymousBytes();

  RestoreAndAsk(20, count);

  EXPECT_EQ(EntriesOf("/proc/self/fd"), descriptors);
  EXPECT_EQ(EntriesOf("/proc/self/task"), threads);
  EXPECT_EQ(EntriesOf(PathFor(".")), files);
  EXPECT_EQ(EntriesOf(PathFor("snap")), 4u);
  // A page a restore would be four times as much.
  if (kMemoryUseIsExact) {
    EXPECT_LT(AnonymousBytes(), memory + (1 << 20));
  }
}

TEST_F(ClonesTest, TwoHundredAtOnceAreSmallAndUnlikeEachOther) {
  const size_t count = CountFromEnvironment("MAYFLY_TEST_CLONES", 200);
  std::vector<std::unique_ptr<FunctionMachine>> clones;
  clones.reserve(count);
  const uint64_t before = AnonymousBytes();
  const auto begun = std::chrono::system_clock::now();
  std::set<uint64_t> generations;
  std::set<std::array<uint8_t, 64>> entropies;
  uint64_t last_clock = 0;
  for (size_t i = 0; i < count; ++i) {
    auto clone = Clone();
    ASSERT_TRUE(clone) << i << ": " << clone.error().message();
    const std::string answer = Ask(**clone, "identity");
    clones.push_back(std::move(*clone));
    ASSERT_EQ(answer.size(), sizeof(Identity)) << answer;
    const auto identity = LoadLe<Identity>(AsBytes(answer));
    generations.insert(identity.generation);
    entropies.insert(identity.entropy);
    const std::chrono::nanoseconds clock(identity.wall_clock_ns);
    EXPECT_GE(clock, begun.time_since_epoch());
    EXPECT_LE(clock, std::chrono::system_clock::now().time_since_epoch());
    EXPECT_GT(identity.wall_clock_ns, last_clock);
    last_clock = identity.wall_clock_ns;
  }
  EXPECT_EQ(generations.size(), count);
  EXPECT_EQ(entropies.size(), count);
  // The pages that they wrote themselves are in it.
  const uint64_t each = (AnonymousBytes() - before) / count;
  std::printf("%zu clones: %llu KiB each, their own pages among them\n", count,
              static_cast<unsigned long long>(each >> 10));
  if (kMemoryUseIsExact) {
    EXPECT_LE(each, 1u << 20);
  }
}

TEST_F(ClonesTest, ACloneIsSavedOverItsSnapshotAndItsClonesAnswer) {
  auto clone = Clone();
  ASSERT_TRUE(clone) << clone.error().message();
  EXPECT_EQ(Ask(**clone, "warm"), "warm");
  auto base = Snapshot::Open(PathFor("snap"));
  ASSERT_TRUE(base) << base.error().message();
  const auto saved = (*clone)->SaveSnapshot(
      SnapshotWriter::Create(PathFor("top"), std::move(*base)).value(), Manifest{}, nullptr);
  ASSERT_TRUE(saved) << saved.error().message();
  EXPECT_GT(saved->data_bytes, 0u);
  EXPECT_LT(saved->data_bytes, 1u << 20);
  clone->reset();
  std::filesystem::rename(PathFor("snap"), PathFor("base"));
  std::filesystem::rename(PathFor("top"), PathFor("snap"));
  EXPECT_FALSE(Clone());
  std::filesystem::rename(PathFor("snap"), PathFor("top"));
  std::filesystem::rename(PathFor("base"), PathFor("snap"));
  ASSERT_TRUE(FlattenSnapshot(PathFor("top"), PathFor("flat"), nullptr));
  std::filesystem::rename(PathFor("snap"), PathFor("base"));
  std::filesystem::rename(PathFor("flat"), PathFor("snap"));
  RestoreAndAsk(0, 3);
}

TEST_F(ClonesTest, EntropyCanBeOverridden) {
  std::array<uint8_t, 64> entropy{};
  entropy.fill(0x5a);
  const auto clone = Clone(entropy);
  ASSERT_TRUE(clone) << clone.error().message();
  const std::string answer = Ask(**clone, "identity");
  ASSERT_EQ(answer.size(), sizeof(Identity)) << answer;
  EXPECT_EQ(LoadLe<Identity>(AsBytes(answer)).entropy, entropy);
}

}  // namespace
}  // namespace mayfly
