#pragma once

#include <string>
#include <vector>

#include "vmm/cli/net_options.h"
#include "vmm/include/mayfly.h"

namespace mayfly {

// The network devices as the C API wants them. Stays where it is: it points into itself.
class ApiNets {
 public:
  explicit ApiNets(const std::vector<NetOptions>& nets);
  ApiNets(const ApiNets&) = delete;
  ApiNets& operator=(const ApiNets&) = delete;

  [[nodiscard]] const std::vector<mayfly_net>& nets() const { return nets_; }
  // As many.
  [[nodiscard]] const std::vector<mayfly_net_settings>& settings() const { return settings_; }

 private:
  struct Texts {
    std::string mac;
    std::string address;
    std::string gateway;
    std::string dns;
  };

  void Add(const NetOptions& net);

  std::vector<Texts> texts_;
  std::vector<mayfly_net> nets_;
  std::vector<mayfly_net_settings> settings_;
};

}  // namespace mayfly
