#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <vector>

#include "devices/virtio/virtqueue.h"
#include "tests/fakes/fake_queue.h"

// Every state of the rings that a driver can leave, in small queues, against a model of what the
// specification (virtio 1.2, section 2.7) makes of it. A state is the contents of the descriptor
// table and of the avail ring, of these classes:
//
//   flags    all eight of NEXT, WRITE, INDIRECT
//   next     every descriptor, and one beyond the table
//   address  the start of RAM, its last byte, its end, the end of the address space
//   length   0, 1, half of the 2^32 that a chain must not reach, 2^32 - 1
//   head     every descriptor, and one beyond the table, in every slot
//   index    every number of chains up to one too many, one and 2^15 backwards
//
// What must hold when the device pops until nothing comes:
//
//   1. A chain comes out if and only if the model says that it is well formed, and all before it.
//   2. Its head and its buffers are those of the descriptors, in their order, readable ones first.
//   3. It has at most as many buffers as the queue has descriptors, each wholly in RAM, and less
//   than
//      2^32 bytes.
//   4. What is not well formed breaks the queue: NeedsReset() once, then and later no chain, and
//      completions are dropped. An index that no driver can have reached breaks it as well.
//   5. What is well formed never breaks the queue.
//   6. The device's position moves by the chains that came out and by nothing else.
namespace mayfly {
namespace {

constexpr uint64_t kMemorySize = 2ULL << 30;
constexpr GuestAddress kRings{0x100000};
constexpr std::array<uint64_t, 4> kAddresses{0, kMemorySize - 1, kMemorySize, UINT64_MAX - 3};
constexpr std::array<uint32_t, 4> kLengths{0, 1, 0x8000'0000, UINT32_MAX};
constexpr unsigned kFlagValues = 8;
// Positions of the device from which it comes, or does not come, around 2^16.
constexpr std::array<uint16_t, 2> kStarts{0, 0xffff};

// All descriptors of a queue of `size`, in all classes.
std::vector<FakeDescriptor> AllDescriptors(uint16_t size) {
  std::vector<FakeDescriptor> all;
  for (const uint64_t address : kAddresses) {
    for (const uint32_t length : kLengths) {
      for (uint16_t flags = 0; flags < kFlagValues; ++flags) {
        for (uint16_t next = 0; next <= size; ++next) all.push_back({address, length, flags, next});
      }
    }
  }
  return all;
}

bool InRam(const FakeDescriptor& descriptor) {
  return descriptor.address <= kMemorySize && descriptor.length <= kMemorySize - descriptor.address;
}

// The model of a chain, step by step.
class ChainModel {
 public:
  enum class Step { kGoesOn, kWhole, kMalformed };

  explicit ChainModel(uint16_t size) : size_(size) {}

  // The device comes to `index`, which holds `descriptor`; kGoesOn means to its `next`.
  Step Visit(uint16_t index, const FakeDescriptor& descriptor) {
    if (index >= size_ || buffers_.size() == size_) return Step::kMalformed;
    const bool writable = (descriptor.flags & kFakeWrite) != 0;
    if ((descriptor.flags & kFakeIndirect) != 0 || !InRam(descriptor)) return Step::kMalformed;
    if (!writable && readable_ != buffers_.size()) return Step::kMalformed;
    bytes_ += descriptor.length;
    if (bytes_ >= 1ULL << 32) return Step::kMalformed;
    buffers_.push_back(descriptor);
    if (!writable) ++readable_;
    return (descriptor.flags & kFakeNext) != 0 ? Step::kGoesOn : Step::kWhole;
  }

  // Rules 2 and 3.
  [[nodiscard]] bool Matches(const DescriptorChain& chain, uint16_t head) const {
    const auto same = [](const FakeDescriptor& descriptor, const GuestBuffer& buffer) {
      return descriptor.address == buffer.address.value && descriptor.length == buffer.length;
    };
    const auto readable = std::span(buffers_).first(readable_);
    const auto writable = std::span(buffers_).subspan(readable_);
    return chain.head() == head && std::ranges::equal(readable, chain.readable(), same) &&
           std::ranges::equal(writable, chain.writable(), same) &&
           uint64_t{chain.readable_size()} + chain.writable_size() == bytes_;
  }

 private:
  uint16_t size_;
  size_t readable_ = 0;
  uint64_t bytes_ = 0;
  std::vector<FakeDescriptor> buffers_;
};

// A chain all of whose descriptors are known; nothing if it is malformed.
std::optional<ChainModel> ModelOf(std::span<const FakeDescriptor> table, uint16_t head) {
  ChainModel model(static_cast<uint16_t>(table.size()));
  uint16_t index = head;
  while (true) {
    const FakeDescriptor descriptor = index < table.size() ? table[index] : FakeDescriptor{};
    switch (model.Visit(index, descriptor)) {
      case ChainModel::Step::kMalformed:
        return std::nullopt;
      case ChainModel::Step::kWhole:
        return model;
      case ChainModel::Step::kGoesOn:
        index = descriptor.next;
    }
  }
}

class VirtqueueChainsTest : public ::testing::Test {
 protected:
  // `expected`: the heads of the chains, with their models, and whether the queue breaks then.
  struct Expected {
    std::vector<std::pair<uint16_t, ChainModel>> chains;
    bool breaks = false;
  };

  void UseQueue(uint16_t size, uint16_t start) {
    rings_.emplace(memory_.get(), kRings, size);
    start_ = start;
  }

  // Pops until nothing comes, and judges by the rules.
  [[nodiscard]] bool Holds(const Expected& expected) {
    ++states_;
    FakeQueueEvents events;
    VirtqueueState state = rings_->state();
    state.next_avail = start_;
    Virtqueue queue = *Virtqueue::Create(state, state.size, false, memory_.get(), &events);
    for (const auto& [head, model] : expected.chains) {
      const auto chain = queue.Pop();
      if (!chain || !model.Matches(*chain, head)) return false;
    }
    const bool ended = !queue.Pop() && !queue.Pop();
    const auto position = static_cast<uint16_t>(start_ + expected.chains.size());
    return ended && queue.broken() == expected.breaks && queue.Save().next_avail == position &&
           events.needs_reset == (expected.breaks ? 1 : 0);
  }

  // All states of a queue whose table is `table`: every avail ring, every index.
  [[nodiscard]] bool AllAvailRingsHold(std::span<const FakeDescriptor> table) {
    const auto size = static_cast<uint16_t>(table.size());
    std::vector<std::optional<ChainModel>> models;
    for (uint16_t head = 0; head <= size; ++head) models.push_back(ModelOf(table, head));
    std::vector<uint16_t> heads(size, 0);
    do {
      for (uint16_t slot = 0; slot < size; ++slot) rings_->WriteAvailEntry(slot, heads[slot]);
      for (const int jump : Jumps(size)) {
        rings_->SetAvailIndex(static_cast<uint16_t>(start_ + jump));
        if (!Holds(Expect(models, heads, jump))) return false;
      }
    } while (Next(heads, size));
    return true;
  }

  static std::vector<int> Jumps(uint16_t size) {
    std::vector<int> jumps{-1, -0x8000};
    for (int jump = 0; jump <= size + 1; ++jump) jumps.push_back(jump);
    return jumps;
  }

  // Rules 1 and 4.
  [[nodiscard]] Expected Expect(const std::vector<std::optional<ChainModel>>& models,
                                const std::vector<uint16_t>& heads, int jump) const {
    Expected expected;
    expected.breaks = jump < 0 || jump > static_cast<int>(heads.size());
    for (int i = 0; i < jump && !expected.breaks; ++i) {
      const uint16_t head = heads[static_cast<uint16_t>(start_ + i) % heads.size()];
      if (models[head]) {
        expected.chains.emplace_back(head, *models[head]);
      } else {
        expected.breaks = true;
      }
    }
    return expected;
  }

  // The next of all combinations of numbers up to `most`; false after the last.
  static bool Next(std::vector<uint16_t>& numbers, uint16_t most) {
    for (uint16_t& number : numbers) {
      if (number++ < most) return true;
      number = 0;
    }
    return false;
  }

  // One chain, for all contents of the descriptors that the device comes to from `index` on; the
  // others are `kUnread`, which would break the queue.
  [[nodiscard]] bool AllChainsHold(const std::vector<FakeDescriptor>& all, uint16_t head,
                                   uint16_t index, const ChainModel& so_far, uint16_t assigned) {
    const uint16_t size = rings_->size();
    if (index >= size) return Holds({{}, true});
    const auto bit = static_cast<uint16_t>(1U << index);
    // A descriptor a second time: the chain never ends, whatever the others hold.
    if ((assigned & bit) != 0) return Holds({{}, true});
    for (const FakeDescriptor& descriptor : all) {
      rings_->WriteDescriptor(index, descriptor);
      ChainModel model = so_far;
      const ChainModel::Step step = model.Visit(index, descriptor);
      bool holds = false;
      if (step == ChainModel::Step::kGoesOn) {
        holds =
            AllChainsHold(all, head, descriptor.next, model, static_cast<uint16_t>(assigned | bit));
      } else if (step == ChainModel::Step::kWhole) {
        holds = Holds({{{head, model}}, false});
      } else {
        holds = Holds({{}, true});
      }
      if (!holds) return false;
    }
    rings_->WriteDescriptor(index, kUnread);
    return true;
  }

  void Report(const char* what) const {
    std::printf("%s: %llu states\n", what, static_cast<unsigned long long>(states_));
  }

  static constexpr FakeDescriptor kUnread{UINT64_MAX, UINT32_MAX, 0xffff, 0xffff};

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kMemorySize);
  std::optional<FakeQueue> rings_;
  uint16_t start_ = 0;
  uint64_t states_ = 0;
};

TEST_F(VirtqueueChainsTest, EveryStateOfAQueueOfOne) {
  for (const uint16_t start : kStarts) {
    UseQueue(1, start);
    for (const FakeDescriptor& descriptor : AllDescriptors(1)) {
      rings_->WriteDescriptor(0, descriptor);
      ASSERT_TRUE(AllAvailRingsHold(std::array{descriptor}));
    }
  }
  Report("queue size 1");
}

TEST_F(VirtqueueChainsTest, EveryStateOfAQueueOfTwo) {
  const std::vector<FakeDescriptor> all = AllDescriptors(2);
  for (const uint16_t start : kStarts) {
    UseQueue(2, start);
    for (const FakeDescriptor& first : all) {
      rings_->WriteDescriptor(0, first);
      for (const FakeDescriptor& second : all) {
        rings_->WriteDescriptor(1, second);
        ASSERT_TRUE(AllAvailRingsHold(std::array{first, second}));
      }
    }
  }
  Report("queue size 2");
}

// Of four descriptors there are 640^4 tables, most of which differ in descriptors that the device
// never comes to: each chain is followed, and those it does not reach are left out.
TEST_F(VirtqueueChainsTest, EveryChainOfAQueueOfFour) {
  const std::vector<FakeDescriptor> all = AllDescriptors(4);
  UseQueue(4, 0);
  for (uint16_t index = 0; index < 4; ++index) rings_->WriteDescriptor(index, kUnread);
  rings_->SetAvailIndex(1);
  for (uint16_t head = 0; head <= 4; ++head) {
    rings_->WriteAvailEntry(0, head);
    ASSERT_TRUE(AllChainsHold(all, head, head, ChainModel(4), 0));
  }
  Report("queue size 4, one chain");
}

// Whole and broken chains of one descriptor in every order, and every index.
TEST_F(VirtqueueChainsTest, EveryAvailRingOfAQueueOfFour) {
  constexpr std::array<FakeDescriptor, 3> kKinds{
      {{0, 1, 0, 0}, {0, 1, kFakeWrite, 0}, {kMemorySize, 1, 0, 0}}};
  for (const uint16_t start : std::array<uint16_t, 4>{0, 1, 0xfffd, 0xffff}) {
    UseQueue(4, start);
    std::vector<uint16_t> kinds(4, 0);
    do {
      std::array<FakeDescriptor, 4> table{};
      for (uint16_t index = 0; index < 4; ++index) {
        table[index] = kKinds[kinds[index]];
        rings_->WriteDescriptor(index, table[index]);
      }
      ASSERT_TRUE(AllAvailRingsHold(table));
    } while (Next(kinds, 2));
  }
  Report("queue size 4, four chains");
}

}  // namespace
}  // namespace mayfly
