#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "vmm/function/description.h"

namespace mayfly {

// The layout of a .mfn file; docs/function-image-format.md has every byte.
//
//   0                      image_size                               file_size - 4096
//   | EROFS file system     | description, JSON, then zeros          | trailer |
//
// The file system comes first, so that the file as it stands is a read-only disk.
struct FunctionImageLayout {
  static constexpr uint32_t kVersion = 1;
  static constexpr uint64_t kBlock = 4096;
  static constexpr uint64_t kTrailerSize = kBlock;
  // One frame of the control channel has to hold it.
  static constexpr uint32_t kMostDescription = 64 * 1024;

  uint64_t image_size = 0;
  uint32_t description_size = 0;
  Sha256Digest image_digest{};
  Sha256Digest description_digest{};

  [[nodiscard]] uint64_t file_size() const;
};

// What follows an image in its file: the padded description and the trailer.
std::vector<uint8_t> EncodeFunctionImageTail(uint64_t image_size, const Sha256Digest& image_digest,
                                             const FunctionDescription& description);

// Reads a trailer, and checks every field of it against `file_size`. The bytes are untrusted;
// `name` is for errors, which are kCorrupt.
Result<FunctionImageLayout> DecodeFunctionImageTrailer(std::span<const uint8_t> trailer,
                                                       uint64_t file_size, const std::string& name);

// An open .mfn file, checked in all but the file system's contents.
class FunctionImage {
 public:
  // The file is untrusted: whatever is wrong with it is kCorrupt, and the error names the file and
  // the field.
  static Result<FunctionImage> Open(const std::string& path);

  // Reads the whole file system and compares its digest; kCorrupt if it differs, kCancelled if
  // `stop` came first.
  [[nodiscard]] Result<void> Verify(const std::stop_token& stop = {}) const;

  // The same open file once more.
  [[nodiscard]] Result<FunctionImage> Duplicate() const;

  [[nodiscard]] const FunctionDescription& description() const { return description_; }
  [[nodiscard]] const FunctionImageLayout& layout() const { return layout_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Read-only. Bytes [0, layout().image_size) are the disk that the guest is given.
  [[nodiscard]] const UniqueFd& fd() const { return fd_; }

 private:
  FunctionImage(std::string path, UniqueFd fd, const FunctionImageLayout& layout,
                FunctionDescription description)
      : path_(std::move(path)),
        fd_(std::move(fd)),
        layout_(layout),
        description_(std::move(description)) {}

  std::string path_;
  UniqueFd fd_;
  FunctionImageLayout layout_;
  FunctionDescription description_;
};

// The size in bytes that the superblock of the EROFS file system in `fd` states, or kCorrupt if
// there is none.
Result<uint64_t> ErofsSize(int fd, const std::string& name);

}  // namespace mayfly
