#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "base/file.h"
#include "jailer/report_filters.h"

namespace mayfly {
namespace {

constexpr char kDescription[] = "mayfly-jailer locks virtual machine monitors up.";
constexpr int kUsage = 2;
constexpr int kHost = 3;

int Print(std::string_view text) {
  return WriteAll(STDOUT_FILENO, AsBytes(text), "standard output") ? 0 : kHost;
}

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "mayfly-jailer");
  bool print_filters = false;
  bool count_filters = false;
  app.add_flag("--print-filters", print_filters, "Print what each kind of thread may call");
  app.add_flag("--count-filters", count_filters, "Print how much that is, as JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Print(app.help());
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "mayfly-jailer: {}\n", error.what());
    return kUsage;
  }
  if (print_filters) return Print(FilterText());
  if (count_filters) return Print(FilterCountsJson());
  return Print(app.help());
}

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) { return mayfly::Main(argc, argv); }
