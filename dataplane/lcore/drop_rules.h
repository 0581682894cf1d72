// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"
#include "dataplane/lcore/flow_rules.h"

#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice {

// Rules of the devices that drop what services deny, so that it costs no lcore a cycle. Each says
// exactly what a service says (VIP, port, protocol, source prefix), so that nothing else is lost;
// software judges all the same, and a device that refuses some leaves these to it.
class DropRules {
 public:
  static constexpr std::size_t kRulesMax = 256;  // on each device

  // Devices by DPDK's number; they are open as long as this is there.
  explicit DropRules(std::vector<std::uint16_t> devices);

  // All that is denied from now on. On return no rule is left for what is not any more. One thread.
  void set(std::span<const DeniedSource> denied);
  // What became of it on device `i`; nothing when nothing was denied. Any thread.
  [[nodiscard]] std::optional<NicRequest> told(std::size_t i) const;

 private:
  struct Device {
    std::uint16_t id = 0;
    std::map<DeniedSource, FlowRules> made;
    std::size_t refused = 0;
    std::string why;
  };
  static void update(Device& device, std::span<const DeniedSource> denied);

  mutable std::mutex mutex_;  // over devices_
  std::vector<Device> devices_;
};

}  // namespace sluice
