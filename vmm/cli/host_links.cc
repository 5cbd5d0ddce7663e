#include "vmm/cli/host_links.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <memory>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "vmm/function/run_program.h"

namespace mayfly {
namespace {

constexpr char kLockFile[] = "/run/mayfly-net.lock";
// In an interface's alias: it is ours, and how the guest uses it.
constexpr std::string_view kAlias = "mayfly ";
constexpr char kInnerUplink[] = "uplink";

// Where namespaces get their way out: 172.30.0.0/16, four addresses each.
constexpr uint32_t kUplinks = 172U << 24 | 30U << 16;
constexpr uint32_t kUplinksEnd = kUplinks + (1U << 16);
constexpr unsigned kUplinkPrefix = 30;

std::vector<std::string> Ip(const std::string& netns, std::vector<std::string> arguments) {
  std::vector<std::string> command{"ip"};
  if (!netns.empty()) command.insert(command.end(), {"-n", netns});
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

std::vector<std::string> In(const std::string& netns, std::vector<std::string> command) {
  if (!netns.empty()) command.insert(command.begin(), {"ip", "netns", "exec", netns});
  return command;
}

std::vector<std::string> EnableForwarding(const std::string& netns) {
  return In(netns, {"sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"});
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// The IPv4 addresses of this namespace's interfaces, by interface; in host byte order.
std::set<std::pair<uint32_t, std::string>> Addresses() {
  std::set<std::pair<uint32_t, std::string>> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    const auto* const internet = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    addresses.emplace(ntohl(internet->sin_addr.s_addr), entry->ifa_name);
  }
  return addresses;
}

// The text behind "alias " in the output of `ip link show`.
std::string AliasIn(const std::string& output) {
  constexpr std::string_view kMark = "alias ";
  const size_t at = output.find(kMark);
  return at == std::string::npos ? "" : FirstLine(output.substr(at + kMark.size()));
}

}  // namespace

Result<HostLinks> HostLinks::Create(const Interrupts* interrupts) {
  UniqueFd lock =
      TRY(WithContext(OpenFile(kLockFile, O_RDWR | O_CREAT, 0644), "net (this needs root)"));
  if (::flock(lock.get(), LOCK_EX) != 0) return FailErrno(std::string("lock ") + kLockFile);
  return HostLinks(interrupts, std::move(lock));
}

Result<std::string> HostLinks::Run(const Command& command) {
  const auto outcome = RunProgram(command, "/", *interrupts_);
  if (!outcome && outcome.error().code() == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("there is no program {} (packages iproute2 and nftables)", command[0]));
  }
  if (!outcome) return std::unexpected(outcome.error());
  if (WIFEXITED(outcome->status) && WEXITSTATUS(outcome->status) == 0) return outcome->output;
  // Rules are too long for a line.
  const std::string text = FirstLine(fmt::format("{}", fmt::join(command, " ")));
  return Fail(ErrorCode::kHost, fmt::format("{}: {}", text, FirstLine(outcome->output)));
}

Result<void> HostLinks::Make(const Command& command, Command undo) {
  TRY(Run(command));
  undo_.push_back(std::move(undo));
  return {};
}

void HostLinks::Undo() {
  // Taken, because it would end these programs too.
  signal_ = interrupts_->Take();
  for (; !undo_.empty(); undo_.pop_back()) IgnoreFailure(Run(undo_.back()));
}

Result<HostLinks::Owner> HostLinks::OwnerOf(const std::string& netns,
                                            const std::string& interface) {
  const Result<std::string> shown = Run(Ip(netns, {"link", "show", "dev", interface}));
  if (!shown && shown.error().code() != ErrorCode::kHost) return std::unexpected(shown.error());
  if (!shown) return Owner::kNobody;
  return AliasIn(*shown).starts_with(kAlias) ? Owner::kMayfly : Owner::kOther;
}

Result<bool> HostLinks::IsMissing(const std::string& netns, const std::string& interface) {
  const Owner owner = TRY(OwnerOf(netns, interface));
  if (owner != Owner::kOther) return owner == Owner::kNobody;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: exists, and is not mayfly's (take another name, or remove it: ip "
                          "link del {})",
                          interface, interface));
}

Result<void> HostLinks::Up(const HostLink& link) {
  const Result<void> done = UpSteps(link);
  if (!done) Undo();
  undo_.clear();
  return done;
}

Result<void> HostLinks::UpSteps(const HostLink& link) {
  if (!link.netns.empty()) TRY(AddNamespace(link));
  if (!link.bridge.empty()) TRY(AddBridge(link));
  TRY(AddTap(link));
  return AddRules(link);
}

Result<Ipv4Network> HostLinks::UplinkNetwork(const HostLink& link) {
  const auto addresses = Addresses();
  for (const auto& [address, name] : addresses) {
    if (name == link.uplink()) return Ipv4Network{address, kUplinkPrefix};
  }
  for (uint32_t network = kUplinks; network < kUplinksEnd; network += 4) {
    const auto next = addresses.lower_bound({network, ""});
    if (next == addresses.end() || next->first >= network + 4) {
      return Ipv4Network{network + 1, kUplinkPrefix};
    }
  }
  return Fail(ErrorCode::kHost, "no network is left in 172.30.0.0/16 for another namespace");
}

Result<void> HostLinks::AddNamespace(const HostLink& link) {
  const std::string& netns = link.netns;
  if (!Run(Ip(netns, {"link", "show", "dev", "lo"}))) {
    TRY(Make({"ip", "netns", "add", netns}, {"ip", "netns", "del", netns}));
  }
  TRY(Run(Ip(netns, {"link", "set", "dev", "lo", "up"})));
  const std::string uplink = link.uplink();
  if (TRY(IsMissing("", uplink))) {
    TRY(Make(
        {"ip", "link", "add", uplink, "type", "veth", "peer", "name", kInnerUplink, "netns", netns},
        {"ip", "link", "del", "dev", uplink}));
  }
  const Ipv4Network host = TRY(UplinkNetwork(link));
  const Ipv4Network inner{host.address + 1, host.prefix};
  TRY(Run({"ip", "link", "set", "dev", uplink, "alias", std::string(kAlias) + "netns=" + netns}));
  TRY(Run({"ip", "addr", "replace", host.ToText(), "dev", uplink}));
  TRY(Run({"ip", "link", "set", "dev", uplink, "up"}));
  TRY(Run(Ip(netns, {"addr", "replace", inner.ToText(), "dev", kInnerUplink})));
  TRY(Run(Ip(netns, {"link", "set", "dev", kInnerUplink, "up"})));
  TRY(Run(Ip(netns, {"route", "replace", "default", "via", Ipv4Text(host.address)})));
  if (!link.nat) return {};
  TRY(Run(EnableForwarding("")));
  return Make({"nft", FilterRules(uplink, Ipv4Text(inner.address), true, link.host_access)},
              {"nft", NoFilterRules(uplink)});
}

Result<void> HostLinks::AddBridge(const HostLink& link) {
  const std::string& netns = link.netns;
  if (TRY(IsMissing(netns, link.bridge))) {
    TRY(Make(Ip(netns, {"link", "add", "name", link.bridge, "type", "bridge"}),
             Ip(netns, {"link", "del", "dev", link.bridge})));
  }
  const std::string alias = fmt::format("{}bridge={}", kAlias, link.host.ToText());
  TRY(Run(Ip(netns, {"link", "set", "dev", link.bridge, "alias", alias})));
  TRY(Run(Ip(netns, {"addr", "replace", link.host.ToText(), "dev", link.bridge})));
  TRY(Run(Ip(netns, {"link", "set", "dev", link.bridge, "up"})));
  return {};
}

Result<void> HostLinks::AddTap(const HostLink& link) {
  const std::string& netns = link.netns;
  if (TRY(IsMissing(netns, link.tap))) {
    Command add = Ip(netns, {"tuntap", "add", "dev", link.tap, "mode", "tap"});
    if (!link.user.empty()) add.insert(add.end(), {"user", link.user});
    TRY(Make(add, Ip(netns, {"link", "del", "dev", link.tap})));
  }
  const std::string alias = std::string(kAlias) + link.NetOption();
  TRY(Run(Ip(netns, {"link", "set", "dev", link.tap, "alias", alias})));
  TRY(Run(Ip(netns, {"link", "set", "dev", link.tap, "mtu", std::to_string(link.mtu)})));
  if (link.bridge.empty()) {
    TRY(Run(Ip(netns, {"addr", "replace", link.host.ToText(), "dev", link.tap})));
  } else {
    TRY(Run(Ip(netns, {"link", "set", "dev", link.tap, "master", link.bridge})));
  }
  TRY(Run(Ip(netns, {"link", "set", "dev", link.tap, "up"})));
  return {};
}

Result<void> HostLinks::AddRules(const HostLink& link) {
  const std::string& interface = link.interface();
  const uint32_t network = link.host.address & link.host.mask();
  const std::string sources = link.bridge.empty() ? Ipv4Text(link.guest())
                                                  : Ipv4Network{network, link.host.prefix}.ToText();
  if (link.nat) TRY(Run(EnableForwarding(link.netns)));
  return Make(In(link.netns, {"nft", FilterRules(interface, sources, link.nat, link.host_access)}),
              In(link.netns, {"nft", NoFilterRules(interface)}));
}

Result<void> HostLinks::Delete(const std::string& netns, const std::string& interface) {
  if (TRY(IsMissing(netns, interface))) return {};
  TRY(Run(Ip(netns, {"link", "del", "dev", interface})));
  return {};
}

Result<void> HostLinks::Down(const HostLink& link) {
  if (!link.netns.empty()) {
    TRY(Delete("", link.uplink()));
    TRY(Run({"nft", NoFilterRules(link.uplink())}));
    // With all that is in it.
    if (Run(Ip(link.netns, {"link", "show", "dev", "lo"}))) {
      TRY(Run({"ip", "netns", "del", link.netns}));
    }
    return {};
  }
  TRY(Delete("", link.tap));
  if (link.bridge.empty()) {
    TRY(Run({"nft", NoFilterRules(link.tap)}));
    return {};
  }
  const bool missing = TRY(IsMissing("", link.bridge));
  if (!missing && !TRY(Run({"ip", "link", "show", "master", link.bridge})).empty()) return {};
  TRY(Delete("", link.bridge));
  TRY(Run({"nft", NoFilterRules(link.bridge)}));
  return {};
}

Result<std::string> HostLinks::Show(const std::string& netns) {
  // The names alone, because a program's output is cut when it is long.
  std::vector<std::string> names;
  if (netns.empty()) {
    struct if_nameindex* const list = ::if_nameindex();
    if (list == nullptr) return FailErrno("list the interfaces");
    const std::unique_ptr<struct if_nameindex, decltype(&::if_freenameindex)> owner(
        list, &::if_freenameindex);
    for (const struct if_nameindex* entry = list; entry->if_index != 0; ++entry) {
      names.emplace_back(entry->if_name);
    }
  } else {
    const std::string brief = TRY(Run(Ip(netns, {"-br", "link", "show"})));
    for (size_t at = 0; at < brief.size(); at = std::min(brief.find('\n', at), brief.size()) + 1) {
      names.push_back(brief.substr(at, brief.find_first_of(" @", at) - at));
    }
  }
  std::string text;
  for (const std::string& name : names) {
    const Result<std::string> shown = Run(Ip(netns, {"link", "show", "dev", name}));
    if (!shown) continue;  // Gone since.
    const std::string alias = AliasIn(*shown);
    if (!alias.starts_with(kAlias)) continue;
    const bool used = shown->find("LOWER_UP") != std::string::npos;
    text += fmt::format("{:15}  {:6}  {}\n", name, used ? "in use" : "free",
                        alias.substr(kAlias.size()));
  }
  return text;
}

}  // namespace mayfly
