#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/boot/kernel.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// An open kernel image, and checked reads from it. Errors name the file.
class KernelFile {
 public:
  static Result<KernelFile> Open(const std::string& path);
  // The same with a file that is open; `path` is for errors.
  static Result<KernelFile> Create(const std::string& path, UniqueFd fd);

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  [[nodiscard]] Result<void> Read(uint64_t offset, std::span<uint8_t> out) const;
  // Copies [offset, offset + length) of the file to guest memory at `to`.
  [[nodiscard]] Result<void> ReadToGuest(uint64_t offset, uint64_t length, GuestAddress to,
                                         const GuestMemory& memory) const;
  [[nodiscard]] std::unexpected<Error> Corrupt(const std::string& what) const;

 private:
  KernelFile(std::string path, UniqueFd fd, uint64_t size)
      : path_(std::move(path)), fd_(std::move(fd)), size_(size) {}

  std::string path_;
  UniqueFd fd_;
  uint64_t size_;
};

Result<LoadedKernel> LoadElf(const KernelFile& file, const GuestMemory& memory);
Result<LoadedKernel> LoadBzImage(const KernelFile& file, const GuestMemory& memory);

}  // namespace mayfly
