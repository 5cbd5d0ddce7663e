#include <poll.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/capi/api_fixture.h"
#include "vmm/function/image.h"

namespace mayfly {
namespace {

class ApiFunctionTest : public ApiFixture {};

uint64_t NowNs() {
  return static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

TEST_F(ApiFunctionTest, ImageTellsWhatItIs) {
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, ImagePath().c_str(), &image), MAYFLY_OK);
  mayfly_function_info info = MAYFLY_FUNCTION_INFO_INIT;
  EXPECT_EQ(mayfly_image_info(image, &info), MAYFLY_OK);
  EXPECT_STREQ(info.name, "echo-c");
  EXPECT_EQ(info.memory_bytes, 128U << 20);
  EXPECT_EQ(info.vcpus, 1U);
  EXPECT_EQ(mayfly_image_verify(image), MAYFLY_OK);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, MissingImageIsNotFoundAndNamed) {
  mayfly_image* image = nullptr;
  EXPECT_EQ(mayfly_image_open(lib_, "/nowhere.mfn", &image), MAYFLY_E_NOT_FOUND);
  EXPECT_EQ(image, nullptr);
  EXPECT_NE(ErrorOf(lib_).find("/nowhere.mfn"), std::string::npos);
}

TEST_F(ApiFunctionTest, WhatIsNoImageIsCorrupt) {
  mayfly_image* image = nullptr;
  EXPECT_EQ(mayfly_image_open(lib_, GuestPath("control").c_str(), &image), MAYFLY_E_CORRUPT);
}

TEST_F(ApiFunctionTest, BootedFunctionAnswers) {
  mayfly_function* const function = Boot(BootOptions());
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, StartedFunctionIsWaitedFor) {
  mayfly_boot_options options = BootOptions();
  options.start_only = 1;
  mayfly_function* const function = Boot(options);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(ErrorOf(function), "the function is not ready yet");
  EXPECT_EQ(mayfly_function_ready(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_ready(function), MAYFLY_OK);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, StartIsInterrupted) {
  mayfly_boot_options options = BootOptions();
  options.start_only = 1;
  mayfly_function* const function = Boot(options);
  EXPECT_EQ(mayfly_function_interrupt(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_ready(function), MAYFLY_E_CANCELLED);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_snapshot(function, PathFor("never").c_str()), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, OptionsOfAnOlderCallerAreTaken) {
  mayfly_boot_options options = BootOptions();
  options.size = offsetof(mayfly_boot_options, net_settings);
  options.start_only = 1;  // Beyond its end.
  mayfly_function* const function = Boot(options);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, ReadyFunctionIsReady) {
  mayfly_function* const function = Clone();
  EXPECT_EQ(mayfly_function_ready(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, SnapshotTellsHowItWent) {
  mayfly_boot_options options = BootOptions();
  options.snapshot = 1;
  mayfly_function* const function = Boot(options);
  mayfly_saved saved = MAYFLY_SAVED_INIT;
  EXPECT_EQ(mayfly_function_saved(function, &saved), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_snapshot(function, PathFor("told").c_str()), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_saved(function, &saved), MAYFLY_OK);
  EXPECT_GT(saved.pause_us, 0U);
  EXPECT_GT(saved.data_bytes, 0U);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, CloneAnswersAgainAndAgain) {
  mayfly_function* const function = Clone();
  EXPECT_EQ(Invoke(function, "one"), "one");
  EXPECT_EQ(Invoke(function, "two"), "two");
  EXPECT_EQ(Invoke(function, ""), "");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, AnswerThatDoesNotFitWaits) {
  mayfly_function* const function = Clone();
  char little[2] = {'x', 'x'};
  size_t size = sizeof(little);
  EXPECT_EQ(mayfly_invoke(function, "hello", 5, nullptr, little, &size), MAYFLY_E_BUFFER);
  EXPECT_EQ(size, 5U);
  EXPECT_EQ(little[0], 'x');
  char answer[8];
  size = sizeof(answer);
  EXPECT_EQ(mayfly_answer(function, answer, &size), MAYFLY_OK);
  EXPECT_EQ(std::string(answer, size), "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, AnswerGoesToTheCallback) {
  mayfly_function* const function = Clone();
  std::string answer;
  mayfly_invoke_options options = MAYFLY_INVOKE_OPTIONS_INIT;
  options.user = &answer;
  options.answer = [](void* user, const void* bytes, size_t length) {
    static_cast<std::string*>(user)->assign(static_cast<const char*>(bytes), length);
  };
  EXPECT_EQ(mayfly_invoke(function, "hello", 5, &options, nullptr, nullptr), MAYFLY_OK);
  EXPECT_EQ(answer, "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, LogLinesGoToTheCallback) {
  std::string log;
  mayfly_boot_options options = BootOptions();
  options.user = &log;
  options.log = [](void* user, uint64_t invocation, int stream, const char* text, size_t length) {
    *static_cast<std::string*>(user) +=
        std::to_string(invocation) + "," + std::to_string(stream) + "," + std::string(text, length);
  };
  mayfly_function* const function = Boot(options);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(log, "1,1,a line\n");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, LastInvocationIsTold) {
  mayfly_function* const function = Clone();
  mayfly_invocation invocation = MAYFLY_INVOCATION_INIT;
  EXPECT_EQ(mayfly_last_invocation(function, &invocation), MAYFLY_E_STATE);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_last_invocation(function, &invocation), MAYFLY_OK);
  EXPECT_EQ(invocation.handler_us, 1U);
  EXPECT_GT(invocation.total_us, 0U);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, HandlerErrorIsACodeWithItsDocument) {
  mayfly_function* const function = Clone();
  char document[256];
  size_t size = sizeof(document);
  EXPECT_EQ(mayfly_invoke(function, "!error", 6, nullptr, document, &size), MAYFLY_E_HANDLER);
  EXPECT_EQ(std::string(document, size),
            R"({"errorType":"Function.Test","errorMessage":"as asked"})");
  EXPECT_EQ(ErrorOf(function), "Function.Test: as asked");
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, document, &size), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, SilentHandlerTimesOut) {
  mayfly_function* const function = Clone();
  mayfly_invoke_options options = MAYFLY_INVOKE_OPTIONS_INIT;
  options.timeout_ms = 50;
  EXPECT_EQ(mayfly_invoke(function, "!silent", 7, &options, nullptr, nullptr), MAYFLY_E_TIMEOUT);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, EndOfTheGuestIsTold) {
  mayfly_function* const function = Clone();
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_function_end(function, &end), MAYFLY_E_AGAIN);
  EXPECT_EQ(mayfly_invoke(function, "!off", 4, nullptr, nullptr, nullptr), MAYFLY_E_GUEST);
  EXPECT_EQ(mayfly_function_end(function, &end), MAYFLY_OK);
  EXPECT_EQ(end.reason, MAYFLY_END_POWER_OFF);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, InterruptEndsTheInvocation) {
  mayfly_function* function = nullptr;
  mayfly_boot_options options = BootOptions();
  options.user = static_cast<void*>(&function);
  options.log = [](void* user, uint64_t, int, const char*, size_t) {
    EXPECT_EQ(mayfly_function_interrupt(*static_cast<mayfly_function**>(user)), MAYFLY_OK);
  };
  function = Boot(options);
  EXPECT_EQ(mayfly_invoke(function, "!silent", 7, nullptr, nullptr, nullptr), MAYFLY_E_CANCELLED);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, MetricsAreJson) {
  mayfly_function* const function = Clone();
  size_t size = 0;
  EXPECT_EQ(mayfly_function_metrics(function, nullptr, &size), MAYFLY_E_BUFFER);
  std::string json(size + 64, '\0');
  size = json.size();
  EXPECT_EQ(mayfly_function_metrics(function, json.data(), &size), MAYFLY_OK);
  EXPECT_EQ(json.front(), '{');
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, MetricsAreTextForPrometheus) {
  mayfly_function* const function = Clone();
  size_t size = 0;
  EXPECT_EQ(mayfly_function_metrics_text(function, nullptr, &size), MAYFLY_E_BUFFER);
  std::string text(size + 64, '\0');
  size = text.size();
  EXPECT_EQ(mayfly_function_metrics_text(function, text.data(), &size), MAYFLY_OK);
  EXPECT_EQ(text.substr(0, 7), "# HELP ");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, TimesOfABootAreInOrder) {
  mayfly_boot_options options = BootOptions();
  options.start_only = 1;
  const uint64_t before = NowNs();
  mayfly_function* const function = Boot(options);
  mayfly_times times = MAYFLY_TIMES_INIT;
  EXPECT_EQ(mayfly_function_times(function, &times), MAYFLY_E_STATE);
  ASSERT_EQ(mayfly_function_ready(function), MAYFLY_OK);
  ASSERT_EQ(mayfly_function_times(function, &times), MAYFLY_OK);
  EXPECT_GT(times.created_ns, before);
  EXPECT_GT(times.init_ns, times.created_ns);
  EXPECT_GE(times.ready_ns, times.init_ns);
  EXPECT_GT(NowNs(), times.ready_ns);
  EXPECT_EQ(mayfly_function_times(function, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, CloneIsReadyAsItBegins) {
  const uint64_t before = NowNs();
  mayfly_function* const function = Clone();
  mayfly_times times = MAYFLY_TIMES_INIT;
  ASSERT_EQ(mayfly_function_times(function, &times), MAYFLY_OK);
  EXPECT_GT(times.created_ns, before);
  EXPECT_EQ(times.init_ns, 0U);
  EXPECT_EQ(times.ready_ns, times.created_ns);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, VerifiedImageBoots) {
  mayfly_boot_options options = BootOptions();
  options.verify = 1;
  mayfly_function* const function = Boot(options);
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

// An image of a TiB, of zeros that match no digest. Reading it takes an hour: whoever waits for
// that never comes to an end.
std::string LargeImage(const std::string& small, const std::string& path) {
  constexpr uint64_t kBytes = 1ULL << 40;
  const auto image = FunctionImage::Open(small).value();
  const auto tail =
      EncodeFunctionImageTail(kBytes, image.layout().image_digest, image.description());
  std::filesystem::copy_file(small, path);
  std::filesystem::resize_file(path, image.layout().image_size);
  std::filesystem::resize_file(path, kBytes);
  std::ofstream(path, std::ios::binary | std::ios::app)
      .write(reinterpret_cast<const char*>(tail.data()), static_cast<std::streamsize>(tail.size()));
  return path;
}

TEST_F(ApiFunctionTest, VerificationEndsWithItsFunction) {
  const std::string path = LargeImage(ImagePath(), PathFor("large.mfn"));
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, path.c_str(), &image), MAYFLY_OK) << ErrorOf(lib_);
  mayfly_boot_options options = BootOptions();
  options.verify = 1;
  options.start_only = 1;
  mayfly_function* function = nullptr;
  ASSERT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_OK) << ErrorOf(image);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);

  // With somebody who waits for it, as a rule.
  ASSERT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_OK) << ErrorOf(image);
  int status = MAYFLY_OK;
  std::thread waiter([&] { status = mayfly_function_ready(function); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(mayfly_function_interrupt(function), MAYFLY_OK);
  waiter.join();
  EXPECT_EQ(status, MAYFLY_E_CANCELLED);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, StoppedFunctionCanBeAskedWhatItWas) {
  mayfly_function* const function = Clone();
  EXPECT_EQ(Invoke(function, "hello"), "hello");
  EXPECT_EQ(mayfly_function_stop(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_stop(function), MAYFLY_OK);
  mayfly_end end = MAYFLY_END_INIT;
  EXPECT_EQ(mayfly_function_end(function, &end), MAYFLY_OK);
  EXPECT_EQ(end.reason, MAYFLY_END_STOPPED);
  std::string json(1 << 16, '\0');
  size_t size = json.size();
  EXPECT_EQ(mayfly_function_metrics(function, json.data(), &size), MAYFLY_OK);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, FunctionIsNotStoppedUnderACall) {
  mayfly_function* const function = Clone();
  mayfly_call* call = nullptr;
  ASSERT_EQ(mayfly_invoke_start(function, "!silent", 7, nullptr, &call), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_stop(function), MAYFLY_E_BUSY);
  EXPECT_EQ(mayfly_call_close(call), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_stop(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, DamagedImageIsFoundBeforeTheHandlerStarts) {
  const std::string damaged = PathFor("damaged.mfn");
  std::filesystem::copy_file(ImagePath(), damaged,
                             std::filesystem::copy_options::overwrite_existing);
  {
    std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file.put('x');
  }
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, damaged.c_str(), &image), MAYFLY_OK);
  EXPECT_EQ(mayfly_image_verify(image), MAYFLY_E_CORRUPT);
  mayfly_boot_options options = BootOptions();
  options.verify = 1;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_E_CORRUPT);
  EXPECT_EQ(function, nullptr);
  EXPECT_NE(ErrorOf(image).find(damaged), std::string::npos);

  options.start_only = 1;
  ASSERT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_ready(function), MAYFLY_E_CORRUPT);
  EXPECT_EQ(mayfly_function_ready(function), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, StartedCallHasItsResultBehindADescriptor) {
  mayfly_function* const function = Clone();
  mayfly_call* call = nullptr;
  ASSERT_EQ(mayfly_invoke_start(function, "hello", 5, nullptr, &call), MAYFLY_OK);
  pollfd done{mayfly_call_fd(call), POLLIN, 0};
  ASSERT_EQ(::poll(&done, 1, kMostMilliseconds), 1);
  EXPECT_EQ(mayfly_call_wait(call, 0), MAYFLY_OK);
  char answer[8];
  size_t size = sizeof(answer);
  EXPECT_EQ(mayfly_call_result(call, answer, &size), MAYFLY_OK);
  EXPECT_EQ(std::string(answer, size), "hello");
  EXPECT_EQ(mayfly_call_close(call), MAYFLY_OK);
  EXPECT_EQ(Invoke(function, "again"), "again");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, CancelledCallEnds) {
  mayfly_function* const function = Clone();
  mayfly_call* call = nullptr;
  ASSERT_EQ(mayfly_invoke_start(function, "!silent", 7, nullptr, &call), MAYFLY_OK);
  EXPECT_EQ(mayfly_call_result(call, nullptr, nullptr), MAYFLY_E_AGAIN);
  EXPECT_EQ(mayfly_call_wait(call, 1), MAYFLY_E_TIMEOUT);
  EXPECT_EQ(mayfly_invoke(function, "x", 1, nullptr, nullptr, nullptr), MAYFLY_E_BUSY);
  EXPECT_EQ(mayfly_call_cancel(call), MAYFLY_OK);
  EXPECT_EQ(mayfly_call_wait(call, kMostMilliseconds), MAYFLY_OK);
  EXPECT_EQ(mayfly_call_result(call, nullptr, nullptr), MAYFLY_E_CANCELLED);
  EXPECT_EQ(mayfly_call_close(call), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, ClosingACallCancelsIt) {
  mayfly_function* const function = Clone();
  mayfly_call* call = nullptr;
  ASSERT_EQ(mayfly_invoke_start(function, "!silent", 7, nullptr, &call), MAYFLY_OK);
  EXPECT_EQ(mayfly_call_close(call), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiFunctionTest, ClosingAFunctionEndsItsCalls) {
  mayfly_function* const function = Clone();
  mayfly_call* call = nullptr;
  ASSERT_EQ(mayfly_invoke_start(function, "!silent", 7, nullptr, &call), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_call_wait(call, kMostMilliseconds), MAYFLY_OK);
  EXPECT_EQ(mayfly_call_result(call, nullptr, nullptr), MAYFLY_E_CANCELLED);
  EXPECT_EQ(mayfly_call_close(call), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
