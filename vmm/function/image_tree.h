#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/function/interrupts.h"

namespace mayfly {

// The root directory of a function image while it is being put together, in a directory on the
// host. What is copied in is made the same for everybody: modes become 0755 or 0644, by the owner's
// execute bit; links between files are not kept. Paths in the image are absolute. /bin, /sbin, /lib
// and /lib64 are links into /usr, as in Debian. Writes never follow a link.
class ImageTree {
 public:
  static constexpr uint64_t kMostBytes = uint64_t{10} << 30;

  struct File {
    std::string host_path;  // What it was copied from.
    std::string image_path;
  };

  // `directory` is empty; `interrupts` must outlive the tree.
  static Result<ImageTree> Create(const std::string& directory, const Interrupts* interrupts);

  // Makes the directory and those above it, where they do not exist.
  Result<void> AddDirectory(const std::string& image_path);
  // Does nothing if there is such a file already.
  Result<void> AddText(const std::string& image_path, std::string_view text);
  // Copies a directory with all below it. Links are kept as they are; sockets, FIFOs and devices
  // are refused.
  Result<void> AddTree(const std::string& host_directory, const std::string& image_path);
  // Copies a file or a directory of the host to the same path, and every link on the way to it.
  // Does nothing for what is there already.
  Result<void> AddHostPath(const std::string& host_path);
  // Copies one file of the host, seen through links, to `image_path`.
  Result<void> AddHostFile(const std::string& host_path, const std::string& image_path);

  // What a program in the image would get when it opens `image_path`, opened with O_PATH or for
  // reading as `flags` say. kNotFound if there is nothing.
  [[nodiscard]] Result<UniqueFd> Open(const std::string& image_path, int flags) const;
  [[nodiscard]] bool Contains(const std::string& image_path) const;

  // Every file that was copied, in order.
  [[nodiscard]] const std::vector<File>& files() const { return files_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  ImageTree(UniqueFd root, const Interrupts* interrupts)
      : root_(std::move(root)), interrupts_(interrupts) {}

  [[nodiscard]] Result<UniqueFd> OpenDirectory(const std::string& image_path) const;
  Result<void> CopyEntries(UniqueFd source, const std::string& host_path,
                           const std::string& image_path, int depth);
  Result<void> CopyEntry(int source, const std::string& name, const File& paths, int depth);
  Result<void> CopyFile(UniqueFd source, const struct stat& status, const File& paths);
  Result<void> CopyBytes(int source, int target, const File& paths);
  Result<void> AddLink(const std::string& image_path, const std::string& target);

  UniqueFd root_;
  const Interrupts* interrupts_;
  std::vector<File> files_;
  uint64_t bytes_ = 0;
};

}  // namespace mayfly
