#include "vmm/cli/net_options.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "vmm/cli/arguments.h"
#include "vmm/config/mac_address.h"

namespace mayfly {
namespace {

std::unexpected<Error> Expected(std::string_view text, std::string_view what) {
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\": expected {}", Printable(text), what));
}

Result<bool> ParseChoice(std::string_view text, std::string_view yes, std::string_view no) {
  if (text == yes) return true;
  if (text == no) return false;
  return Expected(text, fmt::format("{} or {}", yes, no));
}

Result<uint16_t> ParseMtu(std::string_view text) {
  return static_cast<uint16_t>(TRY(ParseCount(text, NetState::kLeastMtu, NetOptions::kMostMtu)));
}

Result<std::string> ParseTap(std::string_view text) {
  if (text.empty()) return Expected(text, "the name of a tap device");
  return std::string(text);
}

Result<int> ParseFd(std::string_view text) {
  // Not standard input, output or error.
  return static_cast<int>(TRY(ParseCount(text, 3, 1U << 20)));
}

Result<void> AddDns(std::string_view text, InterfaceAddress* to) {
  if (to->dns.size() >= InterfaceAddress::kMostDns) {
    return Expected(text, fmt::format("{} name servers at most", InterfaceAddress::kMostDns));
  }
  to->dns.push_back(TRY(ParseAddress(text)));
  return {};
}

// How a JSON value becomes the text that stands behind KEY= on the command line.
enum class JsonForm { kText, kNumber, kSwitch, kList };

struct Key {
  std::string_view name;
  JsonForm form;
  Result<void> (*set)(std::string_view text, NetOptions* to);
};

constexpr Key kKeys[] = {
    {"tap", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->tap = TRY(ParseTap(text));
       return {};
     }},
    {"fd", JsonForm::kNumber,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->fd = TRY(ParseFd(text));
       return {};
     }},
    {"mac", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->mac = TRY(ParseMac(text));
       return {};
     }},
    {"mtu", JsonForm::kNumber,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->mtu = TRY(ParseMtu(text));
       return {};
     }},
    {"link", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->link_up = TRY(ParseChoice(text, "up", "down"));
       return {};
     }},
    {"source_filter", JsonForm::kSwitch,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->source_filter = TRY(ParseChoice(text, "on", "off"));
       return {};
     }},
    {"rx_rate", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->rx.bytes = TRY(ParseRateLimit(text));
       return {};
     }},
    {"rx_ops", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->rx.operations = TRY(ParseRateLimit(text));
       return {};
     }},
    {"tx_rate", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->tx.bytes = TRY(ParseRateLimit(text));
       return {};
     }},
    {"tx_ops", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->tx.operations = TRY(ParseRateLimit(text));
       return {};
     }},
    {"address", JsonForm::kText,
     [](std::string_view text, NetOptions* to) {
       return ParseAddressAndPrefix(text, &to->address);
     }},
    {"gateway", JsonForm::kText,
     [](std::string_view text, NetOptions* to) -> Result<void> {
       to->address.gateway = TRY(ParseAddress(text));
       return {};
     }},
    {"dns", JsonForm::kList,
     [](std::string_view text, NetOptions* to) { return AddDns(text, &to->address); }},
};

std::string KnownKeys() {
  std::string names;
  for (const Key& key : kKeys) names += (names.empty() ? "" : ", ") + std::string(key.name);
  return names;
}

const Key* FindKey(std::string_view name) {
  const auto* const key = std::ranges::find(kKeys, name, &Key::name);
  return key == std::end(kKeys) ? nullptr : key;
}

Result<void> CheckWhole(const NetOptions& net) {
  if (net.tap.empty() && !net.fd) return Fail(ErrorCode::kInvalidArgument, "needs tap or fd");
  const InterfaceAddress& address = net.address;
  if (address.address.empty() && (!address.gateway.empty() || !address.dns.empty())) {
    return Fail(ErrorCode::kInvalidArgument, "gateway and dns need an address besides");
  }
  return {};
}

// The texts of a value's form: one, but for a list.
Result<std::vector<std::string>> TextsOf(const JsonValue& value, JsonForm form) {
  switch (form) {
    case JsonForm::kText:
      return std::vector{TRY(value.AsString())};
    case JsonForm::kNumber:
      return std::vector{std::to_string(TRY(value.AsInteger(0, UINT32_MAX)))};
    case JsonForm::kSwitch:
      return std::vector<std::string>{TRY(value.AsBool()) ? "on" : "off"};
    case JsonForm::kList:
      break;
  }
  std::vector<std::string> texts;
  const std::vector<JsonValue> elements = TRY(value.AsArray(InterfaceAddress::kMostDns));
  texts.reserve(elements.size());
  for (const JsonValue& element : elements) texts.push_back(TRY(element.AsString()));
  return texts;
}

}  // namespace

Result<NetOptions> ParseNet(std::string_view text) {
  NetOptions net;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const size_t equals = std::min(item.find('='), item.size());
    const Key* const key = FindKey(item.substr(0, equals));
    if (key == nullptr || equals == item.size()) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("\"{}\": expected KEY=VALUE with one of the keys {}", Printable(item),
                              KnownKeys()));
    }
    TRY(WithContext(key->set(item.substr(equals + 1), &net), key->name));
  }
  TRY(CheckWhole(net));
  return net;
}

Result<NetOptions> ParseNet(const JsonValue& value) {
  NetOptions net;
  const JsonObject object = TRY(value.AsObject());
  for (const auto& [name, member] : object.Members()) {
    const Key* const key = FindKey(name);
    if (key == nullptr) {
      return member.Refuse(fmt::format("unknown key (known here: {})", KnownKeys()));
    }
    const std::vector<std::string> texts = TRY(TextsOf(member, key->form));
    for (const std::string& text : texts) {
      if (const auto set = key->set(text, &net); !set) return member.Refuse(set.error().message());
    }
  }
  if (const auto whole = CheckWhole(net); !whole) return value.Refuse(whole.error().message());
  return net;
}

Result<std::vector<NetOptions>> ParseNets(const std::vector<std::string>& texts) {
  std::vector<NetOptions> nets;
  nets.reserve(texts.size());
  for (const std::string& text : texts) nets.push_back(TRY(WithContext(ParseNet(text), "--net")));
  return nets;
}

Result<void> CheckNets(const std::vector<NetOptions>& nets) {
  if (nets.size() > NetOptions::kMostNets) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("net: {} devices, {} are the most allowed",
                                                         nets.size(), NetOptions::kMostNets));
  }
  for (size_t i = 0; i < nets.size(); ++i) {
    const NetOptions& net = nets[i];
    if (net.fd && ::fcntl(*net.fd, F_GETFD) < 0) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("net {}: descriptor {} is not open (the caller has to open it and "
                              "let it be inherited)",
                              i, *net.fd));
    }
    for (size_t j = 0; j < i; ++j) {
      const bool same = net.fd ? net.fd == nets[j].fd : !nets[j].fd && net.tap == nets[j].tap;
      if (!same) continue;
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("net {}: uses the same tap as net {}", i, j));
    }
  }
  return {};
}

}  // namespace mayfly
