#include "vmm/cli/manage_snapshots.h"

#include <fmt/format.h>

#include <vector>

#include "vmm/cli/api_handle.h"
#include "vmm/cli/output.h"
#include "vmm/cli/snapshot_reports.h"

namespace mayfly {
namespace {

Result<void> Verify(const std::string& directory) {
  ApiInstance library;
  TRY(OpenApi({}, nullptr, &library));
  return CheckApi(mayfly_snapshot_verify(library.get(), directory.c_str()), library.get());
}

Result<void> Flatten(const std::string& from, const std::string& to) {
  ApiInstance library;
  TRY(OpenApi(StampDirectory(), nullptr, &library));
  return CheckApi(mayfly_snapshot_flatten(library.get(), from.c_str(), to.c_str()), library.get());
}

// A line for each thing that was found.
class Collection {
 public:
  Result<std::string> Run(const std::string& directory, const std::vector<std::string>& keep,
                          bool dry_run) {
    std::vector<const char*> names;
    names.reserve(keep.size());
    for (const std::string& name : keep) names.push_back(name.c_str());
    dry_run_ = dry_run;
    ApiInstance library;
    TRY(OpenApi({}, nullptr, &library));
    mayfly_collect_options options = MAYFLY_COLLECT_OPTIONS_INIT;
    options.keep = names.empty() ? nullptr : names.data();
    options.keep_count = names.size();
    options.dry_run = dry_run ? 1 : 0;
    options.found = [](void* user, int fate, const char* name, const char* what) {
      static_cast<Collection*>(user)->Add(fate, name, what);
    };
    options.user = this;
    TRY(CheckApi(mayfly_snapshot_collect(library.get(), directory.c_str(), &options),
                 library.get()));
    return std::move(text_);
  }

 private:
  [[nodiscard]] std::string_view NameOf(int fate) const {
    if (fate == MAYFLY_GARBAGE_IN_USE) return "kept";
    if (fate == MAYFLY_GARBAGE_DAMAGED) return "left alone";
    return dry_run_ ? "would remove" : "removed";
  }

  void Add(int fate, const char* name, const char* what) {
    text_ += fmt::format("{:14} {} ({})\n", NameOf(fate), name, what);
  }

  bool dry_run_ = false;
  std::string text_;
};

}  // namespace

int RunVerify(const std::string& directory) {
  const Result<void> verified = Verify(directory);
  return verified ? PrintText(directory + ": all of it matches its digests\n")
                  : ReportError(verified.error());
}

int RunFlatten(const std::string& from, const std::string& to) {
  const Result<void> flattened = Flatten(from, to);
  return flattened ? 0 : ReportError(flattened.error());
}

int RunGarbageCollection(const std::string& directory, const std::vector<std::string>& keep,
                         bool dry_run) {
  const Result<std::string> text = Collection().Run(directory, keep, dry_run);
  return text ? PrintText(*text) : ReportError(text.error());
}

}  // namespace mayfly
