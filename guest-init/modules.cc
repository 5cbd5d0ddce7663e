#include "guest-init/modules.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/file.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

constexpr char kLoadOrder[] = "load-order";

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<std::string> SortedNames(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), &::closedir);
  if (!stream) return names;
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<size_t> LoadModules(const std::string& directory) {
  const Result<std::string> order = ReadText(directory + "/" + kLoadOrder);
  const std::vector<std::string> names = order ? Lines(*order) : SortedNames(directory);
  for (const std::string& name : names) {
    const UniqueFd file = TRY(OpenFile(std::string(directory).append("/").append(name), O_RDONLY));
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST) {
      return FailErrno("load module " + name);
    }
  }
  return names.size();
}

}  // namespace mayfly::init
