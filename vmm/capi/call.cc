#include "vmm/capi/call.h"

#include "vmm/capi/wait.h"

namespace mayfly::capi {

Result<std::unique_ptr<Call>> Call::Start(Function* function, HandlePin pin, Function::Turn turn,
                                          std::vector<uint8_t> event, InvocationRequest request) {
  EventFd done = TRY(EventFd::Create());
  EventFd closing = TRY(EventFd::Create());
  std::unique_ptr<Call> call(
      new Call(&function->library(), function, std::move(done), std::move(closing)));
  // std::function copies what it runs.
  struct Work {
    HandlePin pin;
    Function::Turn turn;
    std::vector<uint8_t> event;
    InvocationRequest request;
  };
  const auto work = std::make_shared<std::optional<Work>>(
      Work{std::move(pin), std::move(turn), std::move(event), std::move(request)});
  call->thread_ = Thread("invoke", [self = call.get(), function, work] {
    Outcome outcome = function->Invoke((*work)->event, (*work)->request);
    {
      MutexLock lock(self->mutex_);
      self->function_ = nullptr;
      self->outcome_ = std::move(outcome);
    }
    // The next invocation may begin as soon as somebody sees this one's result.
    work->reset();
    self->done_.Signal();
  });
  return call;
}

Call::~Call() { Cancel(); }

Status Call::Wait(int timeout_ms) const { return WaitReadable(done_.fd(), closing_, timeout_ms); }

Status Call::Fetch(void* buffer, size_t* size) const {
  MutexLock lock(mutex_);
  if (!outcome_) return FailWith(MAYFLY_E_AGAIN, "there is no result yet");
  return Deliver(*outcome_, buffer, size);
}

void Call::Cancel() {
  MutexLock lock(mutex_);
  if (function_ != nullptr) function_->Interrupt();
}

void Call::Interrupt() {
  closing_.Signal();
  Cancel();
}

}  // namespace mayfly::capi
