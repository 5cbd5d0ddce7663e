#pragma once

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <string>
#include <vector>

#include "vmm/bench/fault_bench.h"
#include "vmm/bench/restore_bench.h"

namespace mayfly {

// "map", "uffd" or "eager"; with "-lazy" if the working set waits for its faults.
std::string NameOf(const RestoreCase& what);

// The value that a `share` of the values do not exceed; 0 of none.
double Percentile(std::vector<double> values, double share);

// Puts the 50th, 90th and 99th percentiles there, as the object `key`.
void PutPercentiles(rapidjson::Writer<rapidjson::StringBuffer>& writer, const char* key,
                    const std::vector<double>& values);

// The table that `mayfly bench restore` prints, and its rows as JSON: docs/bench.md.
std::string RestoreTable(const std::vector<RestoreRow>& rows);
std::string RestoreJson(const std::vector<RestoreRow>& rows);

// "sequential" or "random".
std::string NameOf(const FaultCase& what);

// The same for `mayfly bench faults`.
std::string FaultTable(const std::vector<FaultRow>& rows);
std::string FaultJson(const std::vector<FaultRow>& rows);

}  // namespace mayfly
