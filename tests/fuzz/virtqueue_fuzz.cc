#include <algorithm>
#include <array>
#include <deque>

#include "base/check.h"
#include "tests/fakes/fake_queue.h"
#include "tests/fuzz/byte_reader.h"
#include "tests/fuzz/fuzz_memory.h"

// A queue alone: whatever is in the rings, a chain that comes out is one that the driver may name,
// completions come back in order, and a broken queue stays broken.
namespace mayfly {
namespace {

constexpr uint16_t kMaxSize = 8;

class VirtqueueTarget {
 public:
  explicit VirtqueueTarget(ByteReader& in)
      : size_(static_cast<uint16_t>(1U << in.Below(4))),
        driver_(memory_.memory(), memory_.OpenRings(0, size_), size_),
        queue_(MakeQueue(in)) {}

  void Play(ByteReader& in) {
    while (!in.empty()) {
      Step(in);
      CHECK(events_.needs_reset == (queue_.broken() ? 1 : 0));
    }
    memory_.Check();
  }

 private:
  Virtqueue MakeQueue(ByteReader& in) {
    VirtqueueState state = driver_.state();
    const auto options = in.Take<uint8_t>();
    if ((options & 2) != 0) {
      state.next_avail = state.next_used = state.signalled_used = in.Take<uint16_t>();
      driver_.SetAvailIndex(state.next_avail);
    }
    used_ = state.next_used;
    event_index_ = (options & 1) != 0;
    return *Virtqueue::Create(state, kMaxSize, event_index_, memory_.memory(), &events_);
  }

  void Step(ByteReader& in) {
    switch (in.Below(9)) {
      case 0:
        return WriteDescriptor(in);
      case 1:
        return driver_.WriteAvailEntry(static_cast<uint16_t>(in.Below(size_)),
                                       static_cast<uint16_t>(in.Below(size_ + 1U)));
      case 2:
        return driver_.SetAvailIndex(
            static_cast<uint16_t>(driver_.avail_index() + in.Take<int8_t>()));
      case 3:
        return driver_.SetUsedEvent(in.Take<uint16_t>());
      case 4:
        return Complete(in);
      case 5:
        queue_.Notify();
        return;
      case 6:
        if (!chains_.empty() && can_undo_) {
          queue_.UndoPop(std::move(chains_.back()));
          chains_.pop_back();
        }
        can_undo_ = false;
        return;
      case 7:
        driver_.Publish(static_cast<uint16_t>(in.Below(size_)));
        return;
      default:
        return Pop(in);
    }
  }

  void WriteDescriptor(ByteReader& in) {
    const auto shape = in.Take<uint8_t>();
    FakeDescriptor descriptor{};
    descriptor.address = (shape & 0x80) != 0 ? in.Take<uint64_t>() | FuzzMemory::kWindow
                                             : FuzzMemory::kWindow + in.Take<uint8_t>();
    descriptor.length = (shape & 0x40) != 0 ? in.Take<uint32_t>() : in.Take<uint8_t>();
    descriptor.flags = shape & 7;
    descriptor.next = shape >> 3 & 7;
    memory_.NameBuffer(descriptor.address, descriptor.length, (descriptor.flags & kFakeWrite) != 0);
    driver_.WriteDescriptor(static_cast<uint16_t>(in.Below(size_)), descriptor);
  }

  void Pop(ByteReader& in) {
    auto chain = queue_.Pop();
    can_undo_ = chain.has_value();
    if (!chain) return;
    uint64_t readable = 0;
    uint64_t writable = 0;
    for (const GuestBuffer& buffer : chain->readable()) readable += buffer.length;
    for (const GuestBuffer& buffer : chain->writable()) writable += buffer.length;
    CHECK(!queue_.broken() && chain->head() < size_);
    CHECK(chain->readable().size() + chain->writable().size() <= size_);
    CHECK(readable == chain->readable_size() && writable == chain->writable_size());
    std::array<uint8_t, 64> bytes{};
    const size_t offset = in.Take<uint8_t>();
    const size_t left = readable - std::min<size_t>(offset, readable);
    CHECK(chain->CopyFrom(*memory_.memory(), offset, bytes) == std::min(left, bytes.size()));
    bytes.fill(0x5a);
    const size_t room = writable - std::min<size_t>(offset, writable);
    CHECK(chain->CopyTo(*memory_.memory(), offset, bytes) == std::min(room, bytes.size()));
    size_t total = 0;
    for (const iovec& part : chain->WritableIovecs(*memory_.memory(), offset, SIZE_MAX)) {
      CHECK(part.iov_base != nullptr);
      total += part.iov_len;
    }
    CHECK(total == room);
    chains_.push_back(*std::move(chain));
  }

  // Any of those taken, as an asynchronous device does.
  void Complete(ByteReader& in) {
    if (chains_.empty()) return;
    const auto chosen = chains_.begin() + in.Take<uint8_t>() % static_cast<int>(chains_.size());
    const auto written =
        static_cast<uint32_t>(in.Take<uint32_t>() % (uint64_t{chosen->writable_size()} + 1));
    queue_.Complete(std::move(*chosen), written);
    chains_.erase(chosen);
    can_undo_ = false;
    if (!queue_.broken()) ++used_;
    CHECK(queue_.Save().next_used == used_);
  }

  FuzzMemory& memory_ = FuzzMemory::Instance();
  const uint16_t size_;
  FakeQueue driver_;
  FakeQueueEvents events_;
  bool event_index_ = false;
  bool can_undo_ = false;
  uint16_t used_ = 0;
  std::deque<DescriptorChain> chains_;
  Virtqueue queue_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::FuzzMemory::Instance().Restart();
  mayfly::VirtqueueTarget(in).Play(in);
  return 0;
}
