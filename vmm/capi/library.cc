#include "vmm/capi/library.h"

#include <algorithm>

namespace mayfly::capi {

void ErrorTexts::Set(std::string text) {
  const auto self = std::this_thread::get_id();
  MutexLock lock(mutex_);
  std::erase_if(texts_, [&](const auto& entry) { return entry.first == self; });
  if (texts_.size() == kMostThreads) texts_.erase(texts_.begin());
  texts_.emplace_back(self, std::move(text));
}

std::string ErrorTexts::Get() const {
  const auto self = std::this_thread::get_id();
  MutexLock lock(mutex_);
  for (const auto& [thread, text] : texts_) {
    if (thread == self) return text;
  }
  return {};
}

void Library::Write(LogLevel level, std::string_view line) {
  if (options_.log == nullptr || level > options_.log_level) return;
  const CallbackScope scope(this);
  options_.log(options_.user, static_cast<int>(level), line.data(), line.size());
}

bool Library::InCallback() const {
  if (callback_count_.load(std::memory_order_acquire) == 0) return false;
  MutexLock lock(mutex_);
  return std::ranges::find(in_callbacks_, std::this_thread::get_id()) != in_callbacks_.end();
}

Library::CallbackScope::CallbackScope(const Library* library) : library_(library) {
  MutexLock lock(library_->mutex_);
  library_->in_callbacks_.push_back(std::this_thread::get_id());
  library_->callback_count_.fetch_add(1, std::memory_order_release);
}

Library::CallbackScope::~CallbackScope() {
  MutexLock lock(library_->mutex_);
  const auto self = std::ranges::find(library_->in_callbacks_, std::this_thread::get_id());
  library_->in_callbacks_.erase(self);
  library_->callback_count_.fetch_sub(1, std::memory_order_release);
}

}  // namespace mayfly::capi
