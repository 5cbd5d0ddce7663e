#include <filesystem>

#include "tests/capi/api_fixture.h"
#include "tests/support/program.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// Installs mayfly into a directory and builds programs outside of the tree against it.
class InstallTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    if (IsSkipped()) return;
    prefix_ = PathFor("prefix");
    if (fs::exists(prefix_)) return;
    Run({"cmake", "--install", MAYFLY_BUILD_DIR, "--prefix", prefix_, "--strip"});
  }

  // Its standard output; the test fails if the program does.
  static std::string Run(const std::vector<std::string>& command) {
    // Guests that poll and compilers share whatever the machine has left.
    const ProgramResult result = RunProgram(command, "", std::chrono::minutes(20));
    EXPECT_EQ(result.status, 0) << command[0] << " " << command[1] << "\n"
                                << result.out << result.err;
    return result.out;
  }

  // Compiles invoke.c with what pkg-config says of the tree at `prefix`.
  static void CompileInvoke(const std::string& prefix, const std::string& pkg_config_options,
                            const std::string& output) {
    const std::string command =
        "PKG_CONFIG_PATH=$(echo " + prefix + "/lib*/pkgconfig " + prefix +
        "/lib/*/pkgconfig | tr ' ' '\\n' | grep -v '*' | head -n 1); export PKG_CONFIG_PATH; "
        "flags=$(pkg-config " +
        pkg_config_options +
        " --cflags --libs mayfly) || exit 1; "
        "libdir=$(pkg-config --variable=libdir mayfly); "
        "cc -std=c11 -Wall -Wextra -Wpedantic -Werror -o " +
        output + " " MAYFLY_SOURCE_DIR "/examples/embed/invoke.c $flags -Wl,-rpath,$libdir";
    Run({"sh", "-c", command});
  }

  static void ExpectEcho(const std::string& program) {
    EXPECT_EQ(Run({program, SnapshotPath(), "hello"}), "hello");
  }

  // The project examples/embed, built once; the directory with its programs.
  [[nodiscard]] std::string BuildExamples() const {
    std::string build = PathFor("embed-build");
    if (fs::exists(build)) return build;
    Run({"cmake", "-S", (MAYFLY_SOURCE_DIR "/examples/embed"), "-B", build,
         "-DCMAKE_PREFIX_PATH=" + prefix_, "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Werror"});
    Run({"cmake", "--build", build});
    return build;
  }

  static std::string Needed(const std::string& program) {
    return Run({"sh", "-c", "readelf -d " + program + " | grep NEEDED"});
  }

  std::string prefix_;
};

TEST_F(InstallTest, ProgramBuiltWithPkgConfigAnswers) {
  CompileInvoke(prefix_, "", PathFor("invoke-shared"));
  ExpectEcho(PathFor("invoke-shared"));
  EXPECT_NE(Needed(PathFor("invoke-shared")).find("libmayfly.so.0"), std::string::npos);
}

TEST_F(InstallTest, ProgramBuiltWithPkgConfigStaticallyAnswers) {
  fs::create_directories(PathFor("static-only"));
  fs::copy(prefix_, PathFor("static-only"), fs::copy_options::recursive);
  Run({"sh", "-c", "rm " + PathFor("static-only") + "/lib*/libmayfly.so*"});
  CompileInvoke(PathFor("static-only"), "--static", PathFor("invoke-static"));
  ExpectEcho(PathFor("invoke-static"));
  EXPECT_EQ(Needed(PathFor("invoke-static")).find("libmayfly"), std::string::npos);
}

TEST_F(InstallTest, ProgramsBuiltWithCMakeAnswer) {
  const std::string build = BuildExamples();
  ExpectEcho(build + "/invoke");
  ExpectEcho(build + "/invoke-static");
}

TEST_F(InstallTest, ThousandInvocationsOnEightThreadsAreAnsweredFromShells) {
  const std::string build = BuildExamples();
  EXPECT_EQ(Run({build + "/serve", SnapshotPath(), "1000", "8"}).substr(0, 18),
            "1000 of 1000 right");
}

TEST_F(InstallTest, PythonAnswers) {
  EXPECT_EQ(Run({"sh", "-c",
                 "LD_LIBRARY_PATH=" + prefix_ +
                     "/lib python3 " MAYFLY_SOURCE_DIR "/examples/embed/invoke.py " +
                     SnapshotPath() + " hello"}),
            "hello");
}

TEST_F(InstallTest, GoAnswers) {
  if (RunProgram({"sh", "-c", "command -v go"}).status != 0) GTEST_SKIP() << "no Go";
  Run({"sh", "-c",
       "cd " MAYFLY_SOURCE_DIR "/examples/embed/go && PKG_CONFIG_PATH=" + prefix_ +
           "/lib/pkgconfig GOCACHE=" + PathFor("go-cache") + " CGO_LDFLAGS=-Wl,-rpath," + prefix_ +
           "/lib CGO_LDFLAGS_ALLOW=-Wl,-rpath,.* go build -o " + PathFor("invoke-go")});
  ExpectEcho(PathFor("invoke-go"));
}

TEST_F(InstallTest, ManualPagesAndCompletionsAreOfThisVersion) {
  EXPECT_TRUE(fs::exists(prefix_ + "/share/man/man1/mayfly.1"));
  EXPECT_NE(Run({"cat", prefix_ + "/share/man/man1/mayfly-invoke.1"}).find("\\-\\-record"),
            std::string::npos);
  EXPECT_NE(Run({"cat", prefix_ + "/share/man/man3/mayfly.h.3"}).find("mayfly_invoke_start"),
            std::string::npos);
  const std::string complete =
      ". " + prefix_ +
      "/share/bash-completion/completions/mayfly; COMP_WORDS=(mayfly invoke --rec); "
      "COMP_CWORD=2; _mayfly; echo \"${COMPREPLY[@]}\"";
  EXPECT_EQ(Run({"bash", "-c", complete}), "--record\n");
}

// All of a package, with what the dynamic linker would look for in /usr.
TEST_F(InstallTest, DebianPackageHoldsTheSame) {
  const std::string directory = PathFor("deb");
  Run({"cpack", "--config", (MAYFLY_BUILD_DIR "/CPackConfig.cmake"), "-B", directory});
  Run({"sh", "-c", "dpkg-deb -x " + directory + "/mayfly_*.deb " + directory + "/root"});
  CompileInvoke(directory + "/root/usr", "", PathFor("invoke-deb"));
  ExpectEcho(PathFor("invoke-deb"));
  EXPECT_NE(Run({directory + "/root/usr/bin/mayfly", "version"}), "");
  EXPECT_TRUE(fs::exists(directory + "/root/usr/libexec/mayfly/init"));
  EXPECT_NE(Run({"sh", "-c", "dpkg-deb -f " + directory + "/mayfly_*.deb Depends"}).find("libc6"),
            std::string::npos);
}

}  // namespace
}  // namespace mayfly
