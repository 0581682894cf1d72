// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/config.h"
#include "controlplane/model/desired.h"
#include "controlplane/runtime/mailbox.h"
#include "controlplane/runtime/reconciler.h"
#include "dataplane/lcore/dataplane.h"

#include <functional>
#include <string>
#include <vector>

// A control plane on a real dataplane whose only port receives nothing (net_null), without
// hugepages. A process has one EAL, so all tests of a program share the dataplane and its lcore.
namespace sluice::testing {

inline constexpr std::uint32_t kNullBindings = 64;
inline constexpr std::uint32_t kNullServicePorts = 32;

// Port "wan0" without a twin, 192.0.2.1/24 and 2001:db8::1/64 on it; SNAT from 192.0.2.100.
model::Config null_config();
DataplaneSettings settings_of(const model::Config& config);
// Started; the end of the program stops it.
Dataplane& null_dataplane();

// A reconciler of its own for each test, running.
struct NullGateway {
  explicit NullGateway(std::vector<model::AddressPool> pools = {});
  explicit NullGateway(const std::function<void(model::Config&)>& change);
  ~NullGateway();

  model::Config config;
  runtime::Mailbox mailbox;
  runtime::Reconciler reconciler{config, null_dataplane(), mailbox};
};

// A service in namespace "default" with one TCP port 80 -> 8080. An empty VIP: the gateway's
// choice.
model::Service service_of(const std::string& name, const std::string& vip,
                          const std::vector<std::string>& endpoints);
model::Transaction transaction_of(std::vector<model::Service> upsert,
                                  const std::string& provider = "cli");

}  // namespace sluice::testing
