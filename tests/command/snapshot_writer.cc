#include <cstdio>

#include "snapshot/snapshot_writer.h"

// Writes a small snapshot to the directory that it is given, for tests that make system calls fail
// meanwhile.
int main(int argc, char** argv) {
  using namespace mayfly;
  if (argc != 2) return 2;
  constexpr uint64_t kSize = 128 << 10;
  const auto memory = GuestMemory::Create(kSize);
  if (!memory || !(*memory)->Fill(GuestAddress{0x3000}, 0x5a, 0x2000)) return 2;
  MachineState state;
  state.memory_bytes = kSize;
  state.vcpus.resize(1);
  const auto written = WriteSnapshot(argv[1], Manifest{}, state, **memory, nullptr);
  if (written) return 0;
  std::fprintf(stderr, "%s\n", written.error().message().c_str());
  return 1;
}
