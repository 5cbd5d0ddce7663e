#include "guest-init/text_file.h"

#include <fcntl.h>

#include "base/file.h"

namespace mayfly::init {

Result<void> WriteText(const std::string& path, std::string_view text) {
  const UniqueFd file = TRY(OpenFile(path, O_WRONLY));
  return WriteAll(file.get(), AsBytes(text), path);
}

Result<std::string> ReadText(const std::string& path, size_t limit) {
  const std::vector<uint8_t> bytes = TRY(ReadFile(path, limit));
  return std::string(AsText(bytes));
}

}  // namespace mayfly::init
