#include "vmm/function/builder.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <utime.h>

#include <csignal>
#include <cstring>

#include "tests/unit/vmm/function/scratch.h"
#include "vmm/function/image.h"
#include "vmm/function/run_program.h"

namespace mayfly {
namespace {

// Any shared object serves as a handler here: it is never loaded.
constexpr char kSomeLibrary[] = "/lib/x86_64-linux-gnu/libm.so.6";

// A function's directory at `name`, its handler a shared object.
void WriteNative(const Scratch& scratch, const std::string& name) {
  scratch.Write(name + "/mayfly.json", R"({"name": "f", "kind": "native"})");
  std::filesystem::copy_file(kSomeLibrary, scratch / (name + "/handler.so"));
}

// A function's directory "fn", its handler `script`.
void WriteBootstrap(const Scratch& scratch, const std::string& script, const std::string& include) {
  scratch.Write("fn/mayfly.json",
                R"({"name": "f", "kind": "bootstrap", "include": [)" + include + "]}");
  scratch.Write("fn/bootstrap", script, 0755);
}

Result<BuildSummary> Build(const Scratch& scratch, const std::string& directory,
                           const std::string& output) {
  const auto interrupts = Interrupts::Create();
  return BuildFunctionImage(scratch / directory, scratch / output, *interrupts);
}

// Builds "fn", which has to fail and leave nothing behind in "out".
Result<BuildSummary> BuildInVain(const Scratch& scratch) {
  std::filesystem::create_directories(scratch / "out");
  auto result = Build(scratch, "fn", "out/f.mfn");
  EXPECT_FALSE(result);
  EXPECT_EQ(scratch.CountEntries("out"), 0u);
  return result;
}

// Unpacks the file system of a function image, after a check of all of it.
void Extract(const Scratch& scratch, const std::string& image, const std::string& directory) {
  const auto interrupts = Interrupts::Create();
  const auto outcome =
      RunProgram({"fsck.erofs", "--extract=" + directory, image}, scratch.path(), *interrupts);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->status, 0) << outcome->output;
}

std::string LinkTarget(const std::string& path) {
  return std::filesystem::read_symlink(path).string();
}

// Limits the size of files that this process writes, until the end of the test.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &old_); }

 private:
  rlimit old_{};
};

TEST(BuilderTest, NativeFunctionBecomesAVerifiedImage) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  const auto summary = Build(scratch, "fn", "f.mfn");
  ASSERT_TRUE(summary) << summary.error().message();
  const auto image = FunctionImage::Open(scratch / "f.mfn");
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_TRUE(image->Verify());
  EXPECT_EQ(image->description().name, "f");
  EXPECT_EQ(image->layout().image_digest, summary->image_digest);
  EXPECT_EQ(image->layout().file_size(), summary->image_bytes);
  EXPECT_EQ(summary->files, 4u) << "handler, mayfly.json, libc, the loader";
}

TEST(BuilderTest, NativeImageHoldsFunctionLibrariesAndDirectories) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  scratch.Write("fn/data/a b\nc", "odd", 0600);
  ASSERT_TRUE(Build(scratch, "fn", "f.mfn"));
  Extract(scratch, "f.mfn", "x");
  EXPECT_EQ(scratch.Read("x/var/task/data/a b\nc"), "odd");
  EXPECT_TRUE(scratch.Contains("x/var/task/mayfly.json"));
  EXPECT_TRUE(scratch.Contains("x/var/task/handler.so"));
  EXPECT_TRUE(scratch.Contains("x/lib64/ld-linux-x86-64.so.2"));
  EXPECT_TRUE(scratch.Contains("x/lib/x86_64-linux-gnu/libc.so.6"));
  EXPECT_TRUE(scratch.Contains("x/proc"));
  EXPECT_TRUE(scratch.Contains("x/tmp"));
  EXPECT_TRUE(scratch.Contains("x/dev"));
  EXPECT_TRUE(scratch.Contains("x/opt"));
  EXPECT_TRUE(scratch.Contains("x/var/runtime"));
  EXPECT_TRUE(Mentions(scratch.Read("x/etc/hosts").substr(0, 19), "127.0.0.1 localhost"));
}

TEST(BuilderTest, IncludedProgramRunsInTheImage) {
  if (::geteuid() != 0) GTEST_SKIP() << "chroot needs root";
  const Scratch scratch;
  WriteBootstrap(scratch, "#!/bin/sh\necho hello\n", "\"/bin/sh\"");
  const auto summary = Build(scratch, "fn", "f.mfn");
  ASSERT_TRUE(summary) << summary.error().message();
  Extract(scratch, "f.mfn", "x");
  const auto interrupts = Interrupts::Create();
  const auto outcome =
      RunProgram({"chroot", scratch / "x", "/var/task/bootstrap"}, "/", *interrupts);
  EXPECT_EQ(outcome->output, "hello\n");
}

TEST(BuilderTest, IncludedDirectoryIsCopiedToTheSamePath) {
  const Scratch scratch;
  scratch.Write("shared/deep/file", "text");
  WriteBootstrap(scratch, "no script", "\"" + (scratch / "shared") + "\"");
  ASSERT_TRUE(Build(scratch, "fn", "f.mfn"));
  Extract(scratch, "f.mfn", "x");
  EXPECT_EQ(scratch.Read("x" + (scratch / "shared/deep/file")), "text");
}

TEST(BuilderTest, LinksStayLinks) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  ASSERT_EQ(::symlink("/etc/shadow", (scratch / "fn/absolute").c_str()), 0);
  ASSERT_EQ(::symlink("gone", (scratch / "fn/dangling").c_str()), 0);
  ASSERT_EQ(::symlink("..", (scratch / "fn/loop").c_str()), 0);
  ASSERT_TRUE(Build(scratch, "fn", "f.mfn"));
  Extract(scratch, "f.mfn", "x");
  EXPECT_EQ(LinkTarget(scratch / "x/var/task/absolute"), "/etc/shadow");
  EXPECT_EQ(LinkTarget(scratch / "x/var/task/dangling"), "gone");
  EXPECT_EQ(LinkTarget(scratch / "x/var/task/loop"), "..");
}

TEST(BuilderTest, EqualFilesGiveEqualBytes) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  scratch.Write("fn/a", "1", 0644);
  scratch.Write("fn/b", "2", 0755);
  // The same once more: in another order, with other times, modes and directory.
  scratch.Write("other place/fn 2/b", "2", 0700);
  scratch.Write("other place/fn 2/a", "1", 0600);
  WriteNative(scratch, "other place/fn 2");
  const utimbuf long_ago{.actime = 1, .modtime = 1};
  ASSERT_EQ(::utime((scratch / "other place/fn 2/a").c_str(), &long_ago), 0);

  ASSERT_TRUE(Build(scratch, "fn", "one.mfn"));
  const std::filesystem::path old_directory = std::filesystem::current_path();
  std::filesystem::current_path(scratch / "other place");
  const auto interrupts = Interrupts::Create();
  const auto second = BuildFunctionImage("fn 2/", "two.mfn", *interrupts);
  std::filesystem::current_path(old_directory);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_TRUE(scratch.Read("one.mfn") == scratch.Read("other place/two.mfn"));
}

TEST(BuilderTest, UmaskDoesNotMatter) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  ASSERT_TRUE(Build(scratch, "fn", "one.mfn"));
  const mode_t old_mask = ::umask(0077);
  const auto second = Build(scratch, "fn", "two.mfn");
  ::umask(old_mask);
  ASSERT_TRUE(second);
  EXPECT_TRUE(scratch.Read("one.mfn") == scratch.Read("two.mfn"));
}

TEST(BuilderTest, OldImageIsReplaced) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  scratch.Write("out/f.mfn", "old");
  ASSERT_TRUE(Build(scratch, "fn", "out/f.mfn"));
  EXPECT_TRUE(FunctionImage::Open(scratch / "out/f.mfn"));
  EXPECT_EQ(scratch.CountEntries("out"), 1u);
}

TEST(BuilderTest, MissingDescriptionIsNamed) {
  const Scratch scratch;
  scratch.Write("fn/handler.so", "");
  const auto result = BuildInVain(scratch);
  EXPECT_EQ(CodeOf(result), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(result), "mayfly.json: No such file"));
}

TEST(BuilderTest, MissingDirectoryIsNamed) {
  const Scratch scratch;
  EXPECT_TRUE(Mentions(MessageOf(BuildInVain(scratch)), "fn: No such file or directory"));
}

TEST(BuilderTest, MissingHandlerIsNamed) {
  const Scratch scratch;
  scratch.Write("fn/mayfly.json", R"({"name": "f", "kind": "native", "handler": "a/h.so"})");
  EXPECT_TRUE(Mentions(MessageOf(BuildInVain(scratch)), "a/h.so: the handler is not in the func"));
}

TEST(BuilderTest, HandlerLinkedToTheHostIsRefused) {
  const Scratch scratch;
  scratch.Write("fn/mayfly.json", R"({"name": "f", "kind": "native"})");
  ASSERT_EQ(::symlink(kSomeLibrary, (scratch / "fn/handler.so").c_str()), 0);
  EXPECT_TRUE(Mentions(MessageOf(BuildInVain(scratch)), "handler.so: the handler is not in the"));
}

TEST(BuilderTest, HandlerOfAnotherKindIsRefused) {
  const Scratch scratch;
  scratch.Write("fn/mayfly.json", R"({"name": "f", "kind": "native"})");
  scratch.Write("fn/handler.so", "text");
  EXPECT_TRUE(Mentions(MessageOf(BuildInVain(scratch)), "handler.so: the handler is not a shared"));
}

TEST(BuilderTest, DamagedHandlerIsNamed) {
  const Scratch scratch;
  scratch.Write("fn/mayfly.json", R"({"name": "f", "kind": "native"})");
  scratch.Write("fn/handler.so",
                "\x7f"
                "ELF");
  const auto result = BuildInVain(scratch);
  EXPECT_EQ(CodeOf(result), ErrorCode::kCorrupt);
  EXPECT_TRUE(Mentions(MessageOf(result), "handler.so: damaged ELF file"));
}

TEST(BuilderTest, BootstrapMustBeExecutable) {
  const Scratch scratch;
  WriteBootstrap(scratch, "#!/bin/sh\n", "\"/bin/sh\"");
  ASSERT_EQ(::chmod((scratch / "fn/bootstrap").c_str(), 0644), 0);
  EXPECT_TRUE(
      Mentions(MessageOf(BuildInVain(scratch)), "bootstrap: the handler is not executable"));
}

TEST(BuilderTest, InterpreterOfABootstrapMustBeIncluded) {
  const Scratch scratch;
  WriteBootstrap(scratch, "#! /bin/sh -e\n", "");
  EXPECT_TRUE(Mentions(MessageOf(BuildInVain(scratch)),
                       "bootstrap: starts with #!/bin/sh, which is not in the image: add"));
}

TEST(BuilderTest, MissingIncludeIsNamed) {
  const Scratch scratch;
  WriteBootstrap(scratch, "x", "\"/no/such/program\"");
  EXPECT_TRUE(Mentions(MessageOf(BuildInVain(scratch)), "include /no/such/program: No such file"));
}

TEST(BuilderTest, MissingLibraryIsNamedWithWhoNeedsIt) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  // The library's one dependency under another name.
  std::string library = scratch.Read("fn/handler.so");
  const size_t at = library.find("libc.so.6");
  ASSERT_NE(at, std::string::npos);
  library.replace(at, 9, "libq.so.6");
  scratch.Write("fn/handler.so", library);
  const auto result = BuildInVain(scratch);
  EXPECT_EQ(CodeOf(result), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(result), "fn/handler.so: needs the shared library libq.so.6"));
}

TEST(BuilderTest, LibraryOfTheFunctionsOwnIsFound) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  std::string library = scratch.Read("fn/handler.so");
  library.replace(library.find("libc.so.6"), 9, "libq.so.6");
  scratch.Write("fn/handler.so", library);
  std::filesystem::create_directories(scratch / "fn/lib");
  std::filesystem::copy_file(kSomeLibrary, scratch / "fn/lib/libq.so.6");
  const auto result = Build(scratch, "fn", "f.mfn");
  EXPECT_TRUE(result) << result.error().message();
}

TEST(BuilderTest, SpecialFilesAreRefused) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  ASSERT_EQ(::mkfifo((scratch / "fn/pipe").c_str(), 0600), 0);
  const auto result = BuildInVain(scratch);
  EXPECT_EQ(CodeOf(result), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(result), "fn/pipe: is a FIFO; only files"));
}

TEST(BuilderTest, OutputInsideOfTheFunctionIsRefused) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  const auto result = Build(scratch, "fn", "fn/f.mfn");
  EXPECT_EQ(CodeOf(result), ErrorCode::kInvalidArgument);
  EXPECT_EQ(scratch.CountEntries("fn"), 2u);
}

TEST(BuilderTest, OutputThatIsNoFileIsRefused) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  std::filesystem::create_directories(scratch / "out/f.mfn");
  EXPECT_TRUE(Mentions(MessageOf(Build(scratch, "fn", "out/f.mfn")), "exists and is not a file"));
  EXPECT_TRUE(Mentions(MessageOf(Build(scratch, "fn", "no/f.mfn")), "no/: No such file"));
  EXPECT_EQ(scratch.CountEntries("out"), 1u);
}

TEST(BuilderTest, MissingMkfsNamesThePackage) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  const ScopedVariable path("PATH", scratch / "empty");
  const auto result = BuildInVain(scratch);
  EXPECT_EQ(CodeOf(result), ErrorCode::kUnsupported);
  EXPECT_TRUE(Mentions(MessageOf(result), "mkfs.erofs is not installed"));
  EXPECT_TRUE(Mentions(MessageOf(result), "erofs-utils"));
}

TEST(BuilderTest, FullDiskLeavesNothingBehind) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  std::filesystem::create_directory(scratch / "out");
  if (::mount("none", (scratch / "out").c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "cannot mount a small tmpfs: " << std::strerror(errno);
  }
  const auto result = BuildInVain(scratch);
  ::umount((scratch / "out").c_str());
  EXPECT_EQ(CodeOf(result), ErrorCode::kHost);
  EXPECT_TRUE(Mentions(MessageOf(result), "No space left on device"));
}

TEST(BuilderTest, DiskThatFillsUpInMkfsLeavesNothingBehind) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  scratch.Write("fn/data", std::string(1 << 20, 'x'));
  std::filesystem::create_directory(scratch / "out");
  // Room for the copies, not for the image beside them.
  if (::mount("none", (scratch / "out").c_str(), "tmpfs", 0, "size=6m") != 0) {
    GTEST_SKIP() << "cannot mount a small tmpfs: " << std::strerror(errno);
  }
  const auto result = BuildInVain(scratch);
  ::umount((scratch / "out").c_str());
  EXPECT_EQ(CodeOf(result), ErrorCode::kHost);
  EXPECT_TRUE(Mentions(MessageOf(result), "mkfs.erofs: "));
  EXPECT_TRUE(Mentions(MessageOf(result), "No space left on device"));
}

TEST(BuilderTest, FileSizeLimitIsAnErrorNotASignal) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  const FileSizeLimit limit(100'000);
  const auto result = BuildInVain(scratch);
  EXPECT_EQ(CodeOf(result), ErrorCode::kHost);
  EXPECT_TRUE(Mentions(MessageOf(result), "File too large"));
}

TEST(BuilderTest, SignalLeavesNothingBehind) {
  const Scratch scratch;
  WriteNative(scratch, "fn");
  std::filesystem::create_directory(scratch / "out");
  const auto interrupts = Interrupts::Create();
  ASSERT_EQ(::raise(SIGTERM), 0);
  const auto result = BuildFunctionImage(scratch / "fn", scratch / "out/f.mfn", *interrupts);
  EXPECT_EQ(CodeOf(result), ErrorCode::kCancelled);
  EXPECT_EQ(scratch.CountEntries("out"), 0u);
  EXPECT_EQ(interrupts->Take(), SIGTERM);
}

}  // namespace
}  // namespace mayfly
