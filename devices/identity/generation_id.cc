#include "devices/identity/generation_id.h"

#include <sys/random.h>

#include "base/arithmetic.h"

namespace mayfly {

Result<GenerationGuid> GenerationId::NewGuid() {
  GenerationGuid guid;
  // So few bytes come whole or not at all.
  if (::getrandom(guid.data(), guid.size(), 0) != static_cast<ssize_t>(guid.size())) {
    return FailErrno("getrandom");
  }
  guid[7] = static_cast<uint8_t>((guid[7] & 0x0f) | 0x40);
  guid[8] = static_cast<uint8_t>((guid[8] & 0x3f) | 0x80);
  return guid;
}

Result<std::unique_ptr<GenerationId>> GenerationId::Create(const Resources& resources,
                                                           const GenerationIdState& state) {
  if (!IsAligned<uint64_t>(resources.address.value, 8) ||
      !resources.memory->Write(resources.address, state.guid)) {
    return Fail(ErrorCode::kInvalidArgument, "generation id: its address is no aligned RAM");
  }
  return std::unique_ptr<GenerationId>(new GenerationId(resources, state.guid));
}

void GenerationId::Set(const GenerationGuid& guid) {
  MutexLock lock(mutex_);
  guid_ = guid;
  // A page that is lost ends the machine: there is nobody to be told.
  if (!resources_.memory->Write(resources_.address, guid)) return;
  resources_.interrupt->Raise();
}

GenerationIdState GenerationId::Save() const {
  MutexLock lock(mutex_);
  return {guid_};
}

}  // namespace mayfly
