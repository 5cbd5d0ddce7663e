#include <asm/bootparam.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "vmm/boot/kernel_file.h"

// Documentation/x86/boot.rst, "The Real-Mode Kernel Header" and "64-bit Boot Protocol".
namespace mayfly {
namespace {

constexpr uint64_t kSetupHeaderOffset = 0x1f1;
constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
// 2.12 brought xloadflags (Linux 3.8): older kernels do not say whether they have a 64-bit entry.
constexpr uint16_t kMinProtocol = 0x020c;
constexpr uint64_t kSectorSize = 512;
constexpr uint64_t kEntry64Offset = 0x200;

}  // namespace

Result<LoadedKernel> LoadBzImage(const KernelFile& file, const GuestMemory& memory) {
  setup_header header{};
  TRY(file.Read(kSetupHeaderOffset, MutableBytesOf(header)));
  if (header.boot_flag != kBootFlag || header.header != kHeaderMagic) {
    return file.Corrupt("neither an ELF file nor an x86 bzImage");
  }
  if (header.version < kMinProtocol || (header.xloadflags & XLF_KERNEL_64) == 0 ||
      (header.loadflags & LOADED_HIGH) == 0) {
    return file.Corrupt(
        fmt::format("no 64-bit bzImage (boot protocol {}.{:02}; a 64-bit entry is needed)",
                    header.version >> 8, header.version & 0xff));
  }
  const uint64_t setup_sectors = header.setup_sects == 0 ? 4 : header.setup_sects;
  const uint64_t setup_size = (setup_sectors + 1) * kSectorSize;
  // syssize counts 16-byte units; a signature may follow the code in the file.
  const uint64_t code_size = uint64_t{header.syssize} * 16;
  if (setup_size >= file.size() || code_size == 0) return file.Corrupt("truncated");
  const uint64_t in_file = std::min(code_size, file.size() - setup_size);
  if (in_file + 16 <= code_size) {
    return file.Corrupt(fmt::format("truncated: its header promises {} bytes of code, {} are there",
                                    code_size, in_file));
  }

  const GuestAddress load{header.pref_address};
  const uint64_t needed = std::max<uint64_t>(header.init_size, code_size);
  if (!memory.Contains(load, needed)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("kernel: {}: needs {} bytes at {:#x}, which do not fit into {} MiB of "
                            "guest memory",
                            file.path(), needed, load.value, memory.size() >> 20));
  }
  TRY(file.ReadToGuest(setup_size, in_file, load, memory));

  LoadedKernel kernel{BootProtocol::kLinux64,
                      load + kEntry64Offset,
                      load + needed,
                      uint64_t{header.initrd_addr_max} + 1,
                      {}};
  const auto header_bytes = BytesOf(header);
  kernel.setup_header.assign(header_bytes.begin(), header_bytes.end());
  return kernel;
}

}  // namespace mayfly
