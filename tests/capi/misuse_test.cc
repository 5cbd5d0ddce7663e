#include <array>
#include <cstddef>
#include <vector>

#include "tests/capi/api_fixture.h"

namespace mayfly {
namespace {

class ApiMisuseTest : public ApiFixture {};

TEST_F(ApiMisuseTest, NullHandlesAreRefused) {
  mayfly_image* image = nullptr;
  mayfly_snapshot* snapshot = nullptr;
  mayfly_function* function = nullptr;
  mayfly_call* call = nullptr;
  mayfly_machine* machine = nullptr;
  EXPECT_EQ(mayfly_close(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_check_host(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_error(nullptr, nullptr, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_image_open(nullptr, "x", &image), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_image_info(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_image_verify(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_image_close(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_boot(nullptr, nullptr, &function), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_snapshot(nullptr, "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_record(nullptr, "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_interrupt(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_stop(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_ready(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_saved(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_end(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_times(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_metrics(nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_metrics_text(nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_function_close(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_open(nullptr, "x", nullptr, &snapshot), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_info(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_describe(nullptr, "x", nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_verify(nullptr, "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_flatten(nullptr, "x", "y"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_collect(nullptr, "x", nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_snapshot_close(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_restore(nullptr, nullptr, &function), MAYFLY_E_HANDLE);
  mayfly_pool* pool = nullptr;
  EXPECT_EQ(mayfly_pool_create(nullptr, nullptr, &pool), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_pool_fill(nullptr, 1), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_pool_available(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_pool_close(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_invoke(nullptr, "", 0, nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_answer(nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_last_invocation(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_invoke_start(nullptr, "", 0, nullptr, &call), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_call_fd(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_call_wait(nullptr, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_call_result(nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_call_cancel(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_call_close(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_create(nullptr, &machine), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_kernel(nullptr, "x", nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_snapshot(nullptr, "x", nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_memory(nullptr, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_vcpus(nullptr, 1), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_console(nullptr, -1, -1), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_add_disk(nullptr, "x", nullptr, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_add_net(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_vsock(nullptr, 3, "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_rng(nullptr, 1), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_balloon(nullptr, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_boot(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_pause(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_resume(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_snapshot(nullptr, "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_stop(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_link(nullptr, 0, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_wait(nullptr, 0), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_fd(nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_end(nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_metrics(nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_metrics_text(nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_close(nullptr), MAYFLY_E_HANDLE);
}

TEST_F(ApiMisuseTest, ClosedHandlesAreFoundOut) {
  mayfly_function* const function = Clone();
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_invoke(function, "", 0, nullptr, nullptr, nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_error(function, nullptr, 0), MAYFLY_E_HANDLE);
}

TEST_F(ApiMisuseTest, HandlesOfAClosedInstanceAreFoundOut) {
  mayfly_instance* lib = nullptr;
  ASSERT_EQ(mayfly_open(nullptr, &lib), MAYFLY_OK);
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_close(lib), MAYFLY_OK);
  EXPECT_EQ(mayfly_close(lib), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_snapshot(machine, "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, "x", nullptr), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_create(lib, &machine), MAYFLY_E_HANDLE);
}

TEST_F(ApiMisuseTest, ClosedHandleIsNotTheNextOneOfItsPlace) {
  std::vector<mayfly_machine*> seen;
  for (int i = 0; i < 5000; ++i) {
    mayfly_machine* machine = nullptr;
    ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
    ASSERT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
    seen.push_back(machine);
  }
  for (mayfly_machine* machine : seen) {
    ASSERT_EQ(mayfly_machine_set_rng(machine, 1), MAYFLY_E_HANDLE);
  }
}

TEST_F(ApiMisuseTest, HandlesOfAnotherKindAreFoundOut) {
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(reinterpret_cast<mayfly_function*>(machine)), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_check_host(reinterpret_cast<mayfly_instance*>(machine)), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_snapshot(reinterpret_cast<mayfly_machine*>(lib_), "x"), MAYFLY_E_HANDLE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMisuseTest, InstanceIsClosedLast) {
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_close(lib_), MAYFLY_E_BUSY);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

TEST_F(ApiMisuseTest, NullResultsAreRefused) {
  mayfly_function* const function = Clone();
  EXPECT_EQ(mayfly_open(nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_image_open(lib_, "x", nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_snapshot_open(lib_, "x", nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_create(lib_, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_invoke_start(function, "", 0, nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_function_metrics(function, nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_invoke(function, nullptr, 5, nullptr, nullptr, nullptr), MAYFLY_E_INVALID);
  size_t size = 8;
  EXPECT_EQ(mayfly_invoke(function, "hello", 5, nullptr, nullptr, &size), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_last_invocation(function, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiMisuseTest, NullAndEndlessTextsAreRefused) {
  mayfly_image* image = nullptr;
  EXPECT_EQ(mayfly_image_open(lib_, nullptr, &image), MAYFLY_E_INVALID);
  const std::string endless(1 << 20, 'x');
  EXPECT_EQ(mayfly_image_open(lib_, endless.c_str(), &image), MAYFLY_E_INVALID);
  mayfly_machine* const machine = BootMachine("basic", "loop");
  EXPECT_EQ(mayfly_machine_snapshot(machine, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_snapshot(machine, ""), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_snapshot(machine, endless.c_str()), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

// Both functions that take overrides, with `count` of them.
void ExpectOverridesRefused(mayfly_snapshot* snapshot, mayfly_machine* machine,
                            const char* const* texts, size_t count, int status,
                            const std::string& text) {
  mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
  restore.overrides = texts;
  restore.override_count = count;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot, &restore, &function), status);
  EXPECT_EQ(function, nullptr);
  std::array<char, 512> error{};
  EXPECT_GT(mayfly_error(snapshot, error.data(), error.size()), 0);
  EXPECT_NE(std::string(error.data()).find(text), std::string::npos) << error.data();
  mayfly_machine_snapshot_options options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
  options.overrides = texts;
  options.override_count = count;
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, "x", &options), status);
  EXPECT_GT(mayfly_error(machine, error.data(), error.size()), 0);
  EXPECT_NE(std::string(error.data()).find(text), std::string::npos) << error.data();
}

TEST_F(ApiMisuseTest, OverridesThatAreNoneAreRefusedAndNamed) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  const auto refused = [&](std::vector<const char*> texts, int status, const std::string& text) {
    ExpectOverridesRefused(snapshot, machine, texts.data(), texts.size(), status, text);
  };
  refused({"generation=0123", "x=1"}, MAYFLY_E_INVALID, "overrides: generation: \"0123\"");
  refused({"colour=red"}, MAYFLY_E_INVALID, "overrides: colour: expected netN.mac");
  refused({"net8.mac=02:00:00:00:00:01"}, MAYFLY_E_INVALID, "overrides: net8.mac");
  refused({"net0.mac=01:00:00:00:00:01"}, MAYFLY_E_INVALID, "overrides: net0.mac");
  refused({"vsock.cid=2"}, MAYFLY_E_INVALID, "overrides: vsock.cid");
  refused({"vsock.cid=99999999999999999999"}, MAYFLY_E_INVALID, "overrides: vsock.cid");
  refused({"entropy"}, MAYFLY_E_INVALID, "overrides: entropy");
  refused({"=", ""}, MAYFLY_E_INVALID, "overrides[1]: missing");
  refused({nullptr}, MAYFLY_E_INVALID, "overrides[0]: missing");
  const std::string endless = "entropy=" + std::string(1 << 20, '0');
  refused({endless.c_str()}, MAYFLY_E_INVALID, "overrides[0]: longer than");
  refused(std::vector<const char*>(65, "vsock.cid=5"), MAYFLY_E_TOO_LARGE, "64 are the most");
  ExpectOverridesRefused(snapshot, machine, nullptr, 1, MAYFLY_E_INVALID, "overrides: a null");
  ExpectOverridesRefused(snapshot, machine, nullptr, SIZE_MAX, MAYFLY_E_TOO_LARGE, "overrides");
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiMisuseTest, MachineSnapshotOptionsThatAreNoneAreRefused) {
  mayfly_machine* machine = nullptr;
  ASSERT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  mayfly_machine_snapshot_options options{};
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, "x", &options), MAYFLY_E_INVALID);
  options.size = SIZE_MAX;
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, "x", &options), MAYFLY_E_INVALID);
  options = MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT;
  options.memory = 7;
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, "x", &options), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_set_snapshot(machine, nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_E_STATE);
  EXPECT_EQ(mayfly_machine_close(machine), MAYFLY_OK);
}

// A caller built with the header of version 1 has no overrides.
TEST_F(ApiMisuseTest, RestoreOptionsOfAnOlderVersionAreTaken) {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.size = offsetof(mayfly_restore_options, overrides);
  options.override_count = SIZE_MAX;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot, &options, &function), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

TEST_F(ApiMisuseTest, HugeSizesAreRefused) {
  mayfly_function* const function = Clone();
  EXPECT_EQ(mayfly_invoke(function, "", SIZE_MAX, nullptr, nullptr, nullptr), MAYFLY_E_TOO_LARGE);
  mayfly_invoke_options options = MAYFLY_INVOKE_OPTIONS_INIT;
  options.timeout_ms = UINT32_MAX;
  EXPECT_EQ(mayfly_invoke(function, "", 0, &options, nullptr, nullptr), MAYFLY_E_INVALID);
  options.timeout_ms = 0;
  options.request_id = "a b";
  EXPECT_EQ(mayfly_invoke(function, "", 0, &options, nullptr, nullptr), MAYFLY_E_INVALID);
  EXPECT_EQ(Invoke(function, "still there"), "still there");
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
}

TEST_F(ApiMisuseTest, OptionsWithoutTheirSizeAreRefused) {
  mayfly_options options{};
  mayfly_instance* lib = nullptr;
  EXPECT_EQ(mayfly_open(&options, &lib), MAYFLY_E_INVALID);
  options.size = SIZE_MAX;
  EXPECT_EQ(mayfly_open(&options, &lib), MAYFLY_E_INVALID);
}

// A caller built with a newer header sets what this library does not know.
TEST_F(ApiMisuseTest, OptionsOfANewerVersionAreRefusedIfTheyAreUsed) {
  struct {
    mayfly_options known;
    uint64_t later;
  } options{MAYFLY_OPTIONS_INIT, 0};
  options.known.size = sizeof(options);
  mayfly_instance* lib = nullptr;
  ASSERT_EQ(mayfly_open(&options.known, &lib), MAYFLY_OK);
  EXPECT_EQ(mayfly_close(lib), MAYFLY_OK);
  options.later = 1;
  EXPECT_EQ(mayfly_open(&options.known, &lib), MAYFLY_E_UNSUPPORTED);
}

// A caller built with an older header has less room than this library fills.
TEST_F(ApiMisuseTest, ResultsOfAnOlderVersionAreNotOverrun) {
  mayfly_image* image = nullptr;
  ASSERT_EQ(mayfly_image_open(lib_, ImagePath().c_str(), &image), MAYFLY_OK);
  struct {
    size_t size;
    uint64_t memory_bytes;
    uint64_t beyond;
  } info{16, 0, 77};
  EXPECT_EQ(mayfly_image_info(image, reinterpret_cast<mayfly_function_info*>(&info)), MAYFLY_OK);
  EXPECT_EQ(info.memory_bytes, 128U << 20);
  EXPECT_EQ(info.beyond, 77U);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
}

struct InCallback {
  mayfly_function* function;
  mayfly_machine* machine;
  int close = 0;
  int invoke = 0;
  int snapshot = 0;
  int set_snapshot = 0;
  int interrupt = 1;
};

TEST_F(ApiMisuseTest, CallbackCannotCloseWhatItComesFrom) {
  InCallback seen{Clone(), BootMachine("basic", "loop")};
  mayfly_invoke_options options = MAYFLY_INVOKE_OPTIONS_INIT;
  options.user = &seen;
  options.answer = [](void* user, const void*, size_t) {
    auto* const in = static_cast<InCallback*>(user);
    in->close = mayfly_function_close(in->function);
    in->invoke = mayfly_invoke(in->function, "", 0, nullptr, nullptr, nullptr);
    in->snapshot = mayfly_machine_snapshot(in->machine, "x");
    in->set_snapshot = mayfly_machine_set_snapshot(in->machine, "x", nullptr);
    in->interrupt = mayfly_function_interrupt(in->function);
  };
  EXPECT_EQ(mayfly_invoke(seen.function, "x", 1, &options, nullptr, nullptr), MAYFLY_OK);
  EXPECT_EQ(seen.close, MAYFLY_E_THREAD);
  EXPECT_EQ(seen.invoke, MAYFLY_E_THREAD);
  EXPECT_EQ(seen.snapshot, MAYFLY_E_THREAD);
  EXPECT_EQ(seen.set_snapshot, MAYFLY_E_THREAD);
  EXPECT_EQ(seen.interrupt, MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_close(seen.machine), MAYFLY_OK);
  EXPECT_EQ(mayfly_function_close(seen.function), MAYFLY_OK);
}

}  // namespace
}  // namespace mayfly
