#include "vmm/function/builder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/arithmetic.h"
#include "base/file.h"
#include "base/json.h"
#include "base/temp_dir.h"
#include "vmm/function/description.h"
#include "vmm/function/elf_dependencies.h"
#include "vmm/function/image.h"
#include "vmm/function/image_tree.h"
#include "vmm/function/library_closure.h"
#include "vmm/function/run_program.h"

namespace mayfly {
namespace {

struct StandardFile {
  const char* path;
  std::string_view text;
};

constexpr std::array kStandardDirectories{"/dev", "/etc", "/opt", "/proc",        "/root",
                                          "/run", "/sys", "/tmp", "/var/runtime", "/var/tmp"};
constexpr std::array kStandardFiles{
    StandardFile{"/etc/passwd",
                 "root:x:0:0:root:/root:/bin/sh\n"
                 "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
    StandardFile{"/etc/group", "root:x:0:\nnogroup:x:65534:\n"},
    StandardFile{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
    StandardFile{"/etc/resolv.conf", ""},
    StandardFile{"/etc/nsswitch.conf",
                 "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
                 "services: files\nprotocols: files\n"},
};

// Fixed, because what differs between two builds of the same files must be nothing.
constexpr char kUuid[] = "6d617966-6c79-4d66-8e00-000000000001";

Result<std::string> RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (real == nullptr) return FailErrno(Printable(path));
  return std::string(real.get());
}

// The directory of `output` and its name in it. Refuses a place inside of what is packed: the next
// build would find the file, or its temporary directory, there.
Result<std::pair<std::string, std::string>> PlaceOf(const std::string& output,
                                                    const std::string& directory) {
  const size_t slash = output.rfind('/');
  const std::string name = slash == std::string::npos ? output : output.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    return Fail(ErrorCode::kInvalidArgument, Printable(output) + ": not the name of a file");
  }
  const std::string parent =
      TRY(RealPath(slash == std::string::npos ? "." : output.substr(0, slash + 1)));
  if ((parent + "/").starts_with(directory == "/" ? "/" : directory + "/")) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: lies inside of {}, which is to be packed", Printable(output),
                            Printable(directory)));
  }
  struct stat status{};
  if (::stat((parent + "/" + name).c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, Printable(output) + ": exists and is not a file");
  }
  return std::pair(parent, name);
}

Result<FunctionSource> ReadSource(const std::string& directory) {
  const std::string path = directory + "/mayfly.json";
  const std::vector<uint8_t> text = TRY(ReadFile(path, JsonDocument::kMostBytes));
  return ParseFunctionSource(AsText(text), "mayfly.json");
}

std::unexpected<Error> BadHandler(std::string_view handler, std::string_view what) {
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", Printable(handler), what));
}

Result<UniqueFd> OpenTaskFile(const ImageTree& tree, const std::string& name) {
  auto file = tree.Open(kTaskRoot + ("/" + name), O_RDONLY | O_NONBLOCK);
  if (!file) return BadHandler(name, "the handler is not in the function's directory");
  struct stat status{};
  if (::fstat(file->get(), &status) != 0) return FailErrno("stat " + Printable(name));
  if (!S_ISREG(status.st_mode)) return BadHandler(name, "the handler is not a regular file");
  return file;
}

Result<void> CheckNativeHandler(const ImageTree& tree, const std::string& handler) {
  const UniqueFd file = TRY(OpenTaskFile(tree, handler));
  const auto dependencies = TRY(ReadElfDependencies(file.get(), handler));
  if (!dependencies || !dependencies->shared_object) {
    return BadHandler(handler, "the handler is not a shared object for x86-64");
  }
  return {};
}

// The program of a "#!" line; empty if the file has none.
Result<std::string> ScriptInterpreter(int fd) {
  std::array<char, 256> head{};
  const ssize_t count = ::pread(fd, head.data(), head.size(), 0);
  if (count < 0) return FailErrno("read bootstrap");
  std::string_view line(head.data(), static_cast<size_t>(count));
  if (!line.starts_with("#!")) return std::string();
  line = line.substr(2, line.find('\n') - 2);
  const size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos) return std::string();
  line.remove_prefix(start);
  return std::string(line.substr(0, line.find_first_of(" \t\r")));
}

Result<void> CheckBootstrap(const ImageTree& tree) {
  const UniqueFd file = TRY(OpenTaskFile(tree, "bootstrap"));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return FailErrno("stat bootstrap");
  if ((status.st_mode & S_IXUSR) == 0) {
    return BadHandler("bootstrap", "the handler is not executable (chmod +x)");
  }
  const std::string interpreter = TRY(ScriptInterpreter(file.get()));
  if (!interpreter.empty() && !tree.Contains(interpreter)) {
    return BadHandler("bootstrap",
                      fmt::format("starts with #!{0}, which is not in the image: add \"{0}\" to "
                                  "\"include\" in mayfly.json",
                                  Printable(interpreter)));
  }
  return {};
}

Result<BuildSummary> FillTree(ImageTree& tree, const std::string& directory,
                              const FunctionSource& source) {
  TRY(tree.AddTree(directory, kTaskRoot));
  for (const std::string& path : source.include) TRY(tree.AddHostPath(path));
  if (source.description.kind == HandlerKind::kNative) {
    TRY(CheckNativeHandler(tree, source.description.handler));
    TRY(AddCLibrary(tree));
  } else {
    TRY(CheckBootstrap(tree));
  }
  TRY(AddLibraryClosure(tree));
  for (const std::string path : kStandardDirectories) TRY(tree.AddDirectory(path));
  for (const StandardFile& file : kStandardFiles) TRY(tree.AddText(file.path, file.text));
  return BuildSummary{.files = tree.files().size(), .bytes = tree.bytes()};
}

// The first line that mkfs.erofs wrote, without its mark for errors.
std::string FirstLine(std::string_view output) {
  constexpr std::string_view kMark = "<E> ";
  if (output.starts_with(kMark)) output.remove_prefix(kMark.size());
  return Printable(output.substr(0, output.find('\n')));
}

// mkfs.erofs does not say why a write failed.
bool IsFull(const std::string& directory) {
  constexpr uint64_t kLittle = uint64_t{64} * 1024;
  struct statvfs status{};
  return ::statvfs(directory.c_str(), &status) == 0 &&
         uint64_t{status.f_bavail} * status.f_frsize < kLittle;
}

// Makes the file system `image` of `tree`, both names within `work`.
Result<void> MakeFileSystem(const std::string& work, const Interrupts& interrupts) {
  const auto outcome = RunProgram(
      {"mkfs.erofs", "-d1", "-T0", "-x-1", "-U", kUuid, "--all-root", "--quiet", "image", "tree"},
      work, interrupts);
  if (!outcome && outcome.error().code() == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kUnsupported,
                "mkfs.erofs is not installed (it is in the package erofs-utils)");
  }
  if (!outcome) return std::unexpected(outcome.error());
  if (outcome->status == 0) return {};
  const std::string ending = WIFSIGNALED(outcome->status)
                                 ? fmt::format("ended by signal {}", WTERMSIG(outcome->status))
                                 : fmt::format("exit status {}", WEXITSTATUS(outcome->status));
  return Fail(ErrorCode::kHost,
              fmt::format("mkfs.erofs: {}: {}{}", ending, FirstLine(outcome->output),
                          IsFull(work) ? ": No space left on device" : ""));
}

// Puts description and trailer behind the file system and brings all of it to the disk.
Result<void> CompleteImage(const std::string& path, const FunctionDescription& description,
                           BuildSummary& summary) {
  const UniqueFd file = TRY(OpenFile(path, O_RDWR));
  const uint64_t size = TRY(FileSize(file.get(), "the file system"));
  // mkfs.erofs may leave out the end of its last block.
  const uint64_t image_size = AlignUp(size, FunctionImageLayout::kBlock);
  if (::ftruncate(file.get(), static_cast<off_t>(image_size)) != 0) {
    return FailErrno("enlarge the image");
  }
  if (TRY(ErofsSize(file.get(), "mkfs.erofs")) > image_size) {
    return Fail(ErrorCode::kHost, "mkfs.erofs: the file system it made is cut short");
  }
  summary.image_digest = TRY(DigestOfFile(file.get(), image_size, "the file system"));
  const std::vector<uint8_t> tail =
      EncodeFunctionImageTail(image_size, summary.image_digest, description);
  if (::lseek(file.get(), 0, SEEK_END) < 0) return FailErrno("seek in the image");
  TRY(WriteAll(file.get(), tail, "the image"));
  summary.image_bytes = image_size + tail.size();
  if (::fchmod(file.get(), 0644) != 0) return FailErrno("chmod the image");
  if (::fsync(file.get()) != 0) return FailErrno("sync the image");
  return {};
}

}  // namespace

Result<BuildSummary> BuildFunctionImage(const std::string& directory, const std::string& output,
                                        const Interrupts& interrupts) {
  const std::string source_directory = TRY(RealPath(directory));
  const auto [parent, name] = TRY(PlaceOf(output, source_directory));
  const FunctionSource source = TRY(ReadSource(source_directory));

  const TempDir work = TRY(TempDir::Create(parent + "/.mayfly-build."));
  const std::string tree_path = work.path() + "/tree";
  if (::mkdir(tree_path.c_str(), 0755) != 0 || ::chmod(tree_path.c_str(), 0755) != 0) {
    return FailErrno("create " + Printable(tree_path));
  }
  ImageTree tree = TRY(ImageTree::Create(tree_path, &interrupts));
  BuildSummary summary = TRY(FillTree(tree, source_directory, source));
  TRY(MakeFileSystem(work.path(), interrupts));
  const std::string image = work.path() + "/image";
  TRY(CompleteImage(image, source.description, summary));
  TRY(interrupts.Check());

  if (::rename(image.c_str(), (parent + "/" + name).c_str()) != 0) {
    return FailErrno("rename the image to " + Printable(output));
  }
  const UniqueFd parent_directory = TRY(OpenFile(parent, O_RDONLY | O_DIRECTORY));
  if (::fsync(parent_directory.get()) != 0) return FailErrno("sync " + Printable(parent));
  return summary;
}

}  // namespace mayfly
