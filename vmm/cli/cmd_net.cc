#include "vmm/cli/cmd_net.h"

#include <CLI/App.hpp>

#include "vmm/cli/arguments.h"
#include "vmm/cli/host_links.h"
#include "vmm/cli/net_options.h"
#include "vmm/cli/output.h"

namespace mayfly {
namespace {

constexpr char kDefaultAddress[] = "172.31.0.1/30";

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly run f.mfn --net $(mayfly net up tap0)\n"
    "  mayfly net up tap1 --bridge br0 --address 10.9.0.1/24\n"
    "  mayfly net up tap0 --netns clone7\n"
    "  ip netns exec clone7 mayfly run f.mfn --net tap=tap0,address=172.31.0.2/30\n"
    "  mayfly net down tap0\n"
    "\n"
    "docs/network.md is the recipe.\n";

CLI::App* AddAction(CLI::App& net, const char* name, const char* help, NetArguments& arguments,
                    NetArguments::Action action) {
  CLI::App* command = net.add_subcommand(name, help);
  command->parse_complete_callback([&arguments, action] { arguments.action = action; });
  command->add_option("--netns", arguments.netns, "In this network namespace")->type_name("NAME");
  return command;
}

int ReportFailure(const Error& error, const HostLinks& links) {
  const int status = ReportError(error);
  return links.signal() != 0 ? ExitStatusOfSignal(links.signal()) : status;
}

}  // namespace

void AddNetCommand(CLI::App& app, NetArguments& arguments) {
  CLI::App* net = app.add_subcommand("net", "Set up guests' network links on this host");
  net->require_subcommand(1);
  net->footer(kExamples);

  CLI::App* up = AddAction(*net, "up", "Make a tap and its way out; prints what to give to --net",
                           arguments, NetArguments::Action::kUp);
  up->add_option("tap", arguments.tap, "The tap device to make")->required()->type_name("TAP");
  up->add_option("--address", arguments.address,
                 "The host's end (default 172.31.0.1/30); the guest gets the next address")
      ->type_name("ADDRESS/BITS");
  up->add_option("--bridge", arguments.bridge, "Put the tap on this bridge, which has the address")
      ->type_name("NAME");
  up->add_option("--mtu", arguments.mtu, "The largest packet (default 1500)")->type_name("BYTES");
  up->add_option("--user", arguments.user, "Who may use the tap besides root")->type_name("NAME");
  up->add_flag("--no-nat", arguments.no_nat, "No way out but what the host routes by itself");
  up->add_flag("--host-access", arguments.host_access, "Let guests connect to the host itself");

  CLI::App* down = AddAction(*net, "down", "Remove a tap and its way out", arguments,
                             NetArguments::Action::kDown);
  down->add_option("tap", arguments.tap, "The tap device")->required()->type_name("TAP");
  down->add_option("--bridge", arguments.bridge, "And this bridge, if nothing else is on it")
      ->type_name("NAME");

  AddAction(*net, "show", "List the links that net up has made", arguments,
            NetArguments::Action::kShow);
}

Result<HostLink> PrepareLink(const NetArguments& arguments) {
  HostLink link;
  link.tap = arguments.tap;
  link.netns = arguments.netns;
  link.bridge = arguments.bridge;
  link.user = arguments.user;
  link.nat = !arguments.no_nat;
  link.host_access = arguments.host_access;
  TRY(CheckNames(link));
  link.host = TRY(WithContext(
      Ipv4Network::Parse(arguments.address.empty() ? kDefaultAddress : arguments.address),
      "--address"));
  if (!arguments.mtu.empty()) {
    link.mtu = static_cast<uint16_t>(TRY(WithContext(
        ParseCount(arguments.mtu, NetState::kLeastMtu, NetOptions::kMostMtu), "--mtu")));
  }
  return link;
}

int RunNet(const NetArguments& arguments) {
  const bool show = arguments.action == NetArguments::Action::kShow;
  const Result<HostLink> link = show ? HostLink{} : PrepareLink(arguments);
  if (!link) return ReportError(link.error());
  const auto interrupts = Interrupts::Create();
  if (!interrupts) return ReportError(interrupts.error());
  auto links = HostLinks::Create(&*interrupts);
  if (!links) return ReportError(links.error());
  if (show) {
    const auto shown = links->Show(arguments.netns);
    return shown ? PrintText(*shown) : ReportFailure(shown.error(), *links);
  }
  const bool up = arguments.action == NetArguments::Action::kUp;
  const Result<void> done = up ? links->Up(*link) : links->Down(*link);
  if (!done) return ReportFailure(done.error(), *links);
  return up ? PrintText(link->NetOption() + "\n") : static_cast<int>(ExitCode::kSuccess);
}

}  // namespace mayfly
