#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "tests/jail/in_jail.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

constexpr int kRounds = 100'000;

// Somebody who can exchange names in the directory of records, which nobody else should be able to,
// and has links and directories to exchange them for.
class SymlinkRaceTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(PathFor("victim/sub"));
    fs::permissions(PathFor("victim"), fs::perms::owner_all);
    for (const char* name : {"lock", "cgroups", "sub/lock", "sub/cgroups"}) {
      std::ofstream(PathFor(std::string("victim/") + name)) << "the host's " << name;
    }
    fs::create_directories(PathFor("swap"));
    fs::create_directory_symlink(PathFor("victim"), PathFor("swap/link"));
    fs::create_directory_symlink(PathFor("victim/sub"), PathFor("swap/sublink"));
    fs::create_symlink(PathFor("victim/lock"), PathFor("swap/filelink"));
    fs::create_hard_link(PathFor("victim/cgroups"), PathFor("swap/hardlink"));
    fs::create_directory(PathFor("swap/directory"));
    fs::create_directories(PathFor("run/jails"));
    fs::permissions(PathFor("run/jails"), fs::perms::owner_all);
    before_ = Fingerprint();
  }

  [[nodiscard]] std::string PathFor(const std::string& name) const {
    return records_.path() + "/" + name;
  }
  // Names, kinds, modes, owners and contents of everything that is the host's.
  [[nodiscard]] std::string Fingerprint() const {
    std::ostringstream text;
    std::vector<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(PathFor("victim"))) {
      paths.push_back(entry.path());
    }
    std::ranges::sort(paths);
    for (const std::string& path : paths) {
      struct stat status{};
      ::lstat(path.c_str(), &status);
      text << path << ' ' << status.st_mode << ' ' << status.st_uid << ' ' << status.st_size << ' '
           << std::ifstream(path).rdbuf() << '\n';
    }
    return text.str();
  }

  // Until told to stop: exchanges what the jailer may be about to use for something else, and back.
  void Attack(const std::atomic<bool>& stop, std::atomic<int>& rounds) const {
    std::seed_seq seed{1};  // The same exchanges each time.
    std::mt19937 random(seed);
    const std::array<std::string, 4> targets{"run/jails", "run/jails/a", "run/jails/a/lock",
                                             "run/jails/a/cgroups"};
    const std::array<std::string, 5> decoys{"swap/link", "swap/sublink", "swap/filelink",
                                            "swap/hardlink", "swap/directory"};
    while (!stop.load()) {
      const std::string target = PathFor(targets[random() % targets.size()]);
      const std::string decoy = PathFor(decoys[random() % decoys.size()]);
      if (::renameat2(AT_FDCWD, target.c_str(), AT_FDCWD, decoy.c_str(), RENAME_EXCHANGE) == 0) {
        rounds.fetch_add(1);
        (void)::renameat2(AT_FDCWD, target.c_str(), AT_FDCWD, decoy.c_str(), RENAME_EXCHANGE);
      }
    }
  }

  RecordDirectory records_;
  std::string before_;
};

TEST_F(SymlinkRaceTest, NothingOutsideTheRecordsChanges) {
  std::atomic<bool> stop{false};
  std::atomic<int> swaps{0};
  std::thread attacker([&] { Attack(stop, swaps); });
  const JailId id = JailId::Parse("a").value();
  int created = 0;
  for (int round = 0; round < kRounds; ++round) {
    {
      const auto record = JailRecord::Create(PathFor("run/jails"), id);
      if (record) {
        ++created;
        IgnoreFailure(record->Write({{{"/sys/fs/cgroup/none", "mayfly/a"}}}));
      }
    }
    if (round % 4 == 0) IgnoreFailure(CollectJails(PathFor("run/jails")));
  }
  stop.store(true);
  attacker.join();
  EXPECT_EQ(Fingerprint(), before_);
  // Both got something done.
  EXPECT_GT(created, 0);
  EXPECT_GT(swaps.load(), 0);
}

}  // namespace
}  // namespace mayfly
