#include "tests/capi/api_fixture.h"

#include <unistd.h>

#include <array>

#include "vmm/function/builder.h"

namespace mayfly {

std::unique_ptr<TempDir> ApiFixture::directory_;
std::string ApiFixture::snapshot_;

void ApiFixture::SetUpTestSuite() {
  auto directory = TempDir::Create(testing::TempDir() + "/mayfly-capi.");
  ASSERT_TRUE(directory) << directory.error().message();
  directory_ = std::make_unique<TempDir>(*std::move(directory));
  const auto interrupts = Interrupts::Create();
  ASSERT_TRUE(interrupts);
  const auto built =
      BuildFunctionImage(MAYFLY_BUILD_DIR "/examples/echo-c", ImagePath(), *interrupts);
  ASSERT_TRUE(built) << built.error().message();
}

void ApiFixture::TearDownTestSuite() {
  directory_.reset();
  snapshot_.clear();
}

void ApiFixture::SetUp() {
  if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/kvm";
  ASSERT_EQ(mayfly_open(nullptr, &lib_), MAYFLY_OK);
}

void ApiFixture::TearDown() {
  if (lib_ == nullptr) return;
  EXPECT_EQ(mayfly_close(lib_), MAYFLY_OK);
}

std::string ApiFixture::PathFor(const std::string& name) { return directory_->path() + "/" + name; }
std::string ApiFixture::ImagePath() { return PathFor("echo.mfn"); }
std::string ApiFixture::GuestPath(const std::string& name) {
  return MAYFLY_BUILD_DIR "/test-guests/" + name;
}

mayfly_boot_options ApiFixture::BootOptions() {
  static const std::string kernel = GuestPath("control");
  mayfly_boot_options options = MAYFLY_BOOT_OPTIONS_INIT;
  options.kernel = kernel.c_str();
  options.guest_directory = MAYFLY_BUILD_DIR "/guest";
  options.timeout_ms = kMostMilliseconds;
  return options;
}

mayfly_function* ApiFixture::Boot(const mayfly_boot_options& options) const {
  mayfly_image* image = nullptr;
  EXPECT_EQ(mayfly_image_open(lib_, ImagePath().c_str(), &image), MAYFLY_OK) << ErrorOf(lib_);
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_OK) << ErrorOf(image);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
  return function;
}

const std::string& ApiFixture::SnapshotPath() {
  if (!snapshot_.empty()) return snapshot_;
  snapshot_ = PathFor("snapshot");
  mayfly_instance* lib = nullptr;
  EXPECT_EQ(mayfly_open(nullptr, &lib), MAYFLY_OK);
  mayfly_image* image = nullptr;
  EXPECT_EQ(mayfly_image_open(lib, ImagePath().c_str(), &image), MAYFLY_OK);
  mayfly_boot_options options = BootOptions();
  options.snapshot = 1;
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_function_boot(image, &options, &function), MAYFLY_OK) << ErrorOf(image);
  EXPECT_EQ(mayfly_function_snapshot(function, snapshot_.c_str()), MAYFLY_OK) << ErrorOf(function);
  EXPECT_EQ(mayfly_function_close(function), MAYFLY_OK);
  EXPECT_EQ(mayfly_image_close(image), MAYFLY_OK);
  EXPECT_EQ(mayfly_close(lib), MAYFLY_OK);
  return snapshot_;
}

mayfly_snapshot* ApiFixture::OpenSnapshot() const {
  mayfly_snapshot* snapshot = nullptr;
  EXPECT_EQ(mayfly_snapshot_open(lib_, SnapshotPath().c_str(), nullptr, &snapshot), MAYFLY_OK)
      << ErrorOf(lib_);
  return snapshot;
}

mayfly_function* ApiFixture::Clone() const {
  mayfly_snapshot* const snapshot = OpenSnapshot();
  mayfly_function* function = nullptr;
  EXPECT_EQ(mayfly_restore(snapshot, nullptr, &function), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
  return function;
}

void ApiFixture::ExpectCloneEchoes(const std::string& path, const std::string& event) const {
  mayfly_snapshot* snapshot = nullptr;
  ASSERT_EQ(mayfly_snapshot_open(lib_, path.c_str(), nullptr, &snapshot), MAYFLY_OK)
      << ErrorOf(lib_);
  mayfly_function* clone = nullptr;
  ASSERT_EQ(mayfly_restore(snapshot, nullptr, &clone), MAYFLY_OK) << ErrorOf(snapshot);
  EXPECT_EQ(Invoke(clone, event), event);
  EXPECT_EQ(mayfly_function_close(clone), MAYFLY_OK);
  EXPECT_EQ(mayfly_snapshot_close(snapshot), MAYFLY_OK);
}

mayfly_machine* ApiFixture::BootMachine(const std::string& guest,
                                        const std::string& command_line) const {
  mayfly_machine* machine = nullptr;
  EXPECT_EQ(mayfly_machine_create(lib_, &machine), MAYFLY_OK);
  EXPECT_EQ(
      mayfly_machine_set_kernel(machine, GuestPath(guest).c_str(), nullptr, command_line.c_str()),
      MAYFLY_OK);
  EXPECT_EQ(mayfly_machine_boot(machine), MAYFLY_OK) << ErrorOf(machine);
  return machine;
}

std::string ApiFixture::ErrorOf(const void* handle) {
  std::array<char, 512> text{};
  const int length = mayfly_error(handle, text.data(), text.size());
  return length < 0 ? mayfly_strerror(length) : text.data();
}

std::string ApiFixture::Invoke(mayfly_function* function, const std::string& event) {
  std::string answer(1 << 16, '\0');
  size_t size = answer.size();
  const int status =
      mayfly_invoke(function, event.data(), event.size(), nullptr, answer.data(), &size);
  if (status != MAYFLY_OK) return std::string(mayfly_strerror(status)) + ": " + ErrorOf(function);
  answer.resize(size);
  return answer;
}

}  // namespace mayfly
