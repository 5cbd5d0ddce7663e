#include <cstddef>
#include <fstream>
#include <sstream>

#include "tests/capi/api_fixture.h"
#include "tests/support/program.h"

namespace mayfly {
namespace {

// What the file in the tree says of the ABI. A change of it is a change of that file: additions at
// the end of a structure and new functions are compatible, everything else needs another SONAME.
std::string Recorded(const std::string& file) {
  std::ifstream stream(MAYFLY_SOURCE_DIR "/vmm/capi/abi/" + file);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

#define SIZE(type) text << #type << " " << sizeof(type) << "\n"
#define MEMBER(type, member) text << #type << "." #member << " " << offsetof(type, member) << "\n"

TEST(AbiTest, StructuresAreAsRecorded) {
  std::stringstream text;
  SIZE(mayfly_options);
  MEMBER(mayfly_options, log);
  MEMBER(mayfly_options, user);
  MEMBER(mayfly_options, log_level);
  MEMBER(mayfly_options, verified_directory);
  SIZE(mayfly_function_info);
  MEMBER(mayfly_function_info, memory_bytes);
  MEMBER(mayfly_function_info, vcpus);
  MEMBER(mayfly_function_info, timeout_ms);
  MEMBER(mayfly_function_info, name);
  SIZE(mayfly_net);
  MEMBER(mayfly_net, tap);
  MEMBER(mayfly_net, mac);
  MEMBER(mayfly_net, address);
  MEMBER(mayfly_net, gateway);
  MEMBER(mayfly_net, dns);
  SIZE(mayfly_boot_options);
  MEMBER(mayfly_boot_options, kernel);
  MEMBER(mayfly_boot_options, guest_directory);
  MEMBER(mayfly_boot_options, memory_bytes);
  MEMBER(mayfly_boot_options, vcpus);
  MEMBER(mayfly_boot_options, timeout_ms);
  MEMBER(mayfly_boot_options, snapshot);
  MEMBER(mayfly_boot_options, console_fd);
  MEMBER(mayfly_boot_options, nets);
  MEMBER(mayfly_boot_options, net_count);
  MEMBER(mayfly_boot_options, log);
  MEMBER(mayfly_boot_options, user);
  MEMBER(mayfly_boot_options, net_settings);
  MEMBER(mayfly_boot_options, start_only);
  MEMBER(mayfly_boot_options, verify);
  SIZE(mayfly_rate);
  MEMBER(mayfly_rate, per_second);
  MEMBER(mayfly_rate, burst);
  MEMBER(mayfly_rate, one_time_burst);
  SIZE(mayfly_net_settings);
  MEMBER(mayfly_net_settings, fd);
  MEMBER(mayfly_net_settings, mtu);
  MEMBER(mayfly_net_settings, link_down);
  MEMBER(mayfly_net_settings, filter_source);
  MEMBER(mayfly_net_settings, receive_bytes);
  MEMBER(mayfly_net_settings, receive_frames);
  MEMBER(mayfly_net_settings, transmit_bytes);
  MEMBER(mayfly_net_settings, transmit_frames);
  SIZE(mayfly_times);
  MEMBER(mayfly_times, created_ns);
  MEMBER(mayfly_times, init_ns);
  MEMBER(mayfly_times, ready_ns);
  SIZE(mayfly_saved);
  MEMBER(mayfly_saved, pause_us);
  MEMBER(mayfly_saved, data_bytes);
  SIZE(mayfly_snapshot_options);
  MEMBER(mayfly_snapshot_options, image);
  MEMBER(mayfly_snapshot_options, unverified);
  MEMBER(mayfly_snapshot_options, no_working_set);
  SIZE(mayfly_pool_options);
  MEMBER(mayfly_pool_options, count);
  MEMBER(mayfly_pool_options, refill);
  SIZE(mayfly_restore_options);
  MEMBER(mayfly_restore_options, pool);
  MEMBER(mayfly_restore_options, memory);
  MEMBER(mayfly_restore_options, console_fd);
  MEMBER(mayfly_restore_options, timeout_ms);
  MEMBER(mayfly_restore_options, record);
  MEMBER(mayfly_restore_options, nets);
  MEMBER(mayfly_restore_options, net_count);
  MEMBER(mayfly_restore_options, log);
  MEMBER(mayfly_restore_options, user);
  MEMBER(mayfly_restore_options, zygote);
  MEMBER(mayfly_restore_options, overrides);
  MEMBER(mayfly_restore_options, override_count);
  MEMBER(mayfly_restore_options, net_settings);
  MEMBER(mayfly_restore_options, snapshot);
  SIZE(mayfly_collect_options);
  MEMBER(mayfly_collect_options, keep);
  MEMBER(mayfly_collect_options, keep_count);
  MEMBER(mayfly_collect_options, dry_run);
  MEMBER(mayfly_collect_options, found);
  MEMBER(mayfly_collect_options, user);
  SIZE(mayfly_zygote_options);
  MEMBER(mayfly_zygote_options, program);
  MEMBER(mayfly_zygote_options, limit);
  MEMBER(mayfly_zygote_options, count);
  SIZE(mayfly_invoke_options);
  MEMBER(mayfly_invoke_options, timeout_ms);
  MEMBER(mayfly_invoke_options, request_id);
  MEMBER(mayfly_invoke_options, answer);
  MEMBER(mayfly_invoke_options, user);
  SIZE(mayfly_invocation);
  MEMBER(mayfly_invocation, total_us);
  MEMBER(mayfly_invocation, handler_us);
  MEMBER(mayfly_invocation, max_memory_bytes);
  MEMBER(mayfly_invocation, log_dropped_bytes);
  SIZE(mayfly_machine_snapshot_options);
  MEMBER(mayfly_machine_snapshot_options, memory);
  MEMBER(mayfly_machine_snapshot_options, unverified);
  MEMBER(mayfly_machine_snapshot_options, overrides);
  MEMBER(mayfly_machine_snapshot_options, override_count);
  SIZE(mayfly_end);
  MEMBER(mayfly_end, reason);
  MEMBER(mayfly_end, detail);
  EXPECT_EQ(text.str(), Recorded("structures"));
}

#ifdef MAYFLY_SHARED_LIBRARY
TEST(AbiTest, ExportedSymbolsAreAsRecorded) {
  const ProgramResult symbols = RunProgram({"sh", "-c",
                                            "nm -D --defined-only " MAYFLY_SHARED_LIBRARY
                                            " | awk '{print $3}' | LC_ALL=C sort"});
  EXPECT_EQ(symbols.out, Recorded("symbols"));
}

TEST(AbiTest, SharedLibraryHasItsName) {
  const ProgramResult dynamic = RunProgram({"readelf", "-d", MAYFLY_SHARED_LIBRARY});
  EXPECT_NE(dynamic.out.find("[libmayfly.so.0]"), std::string::npos) << dynamic.out;
}
#endif

}  // namespace
}  // namespace mayfly
