// SPDX-License-Identifier: Apache-2.0
// The routes of one gateway: those that it has, by which services are translated for it, and those
// that the provider has it keep. The latter live in the gateway's memory and go when it stops.
//
// A gateway that knows nothing of routes serves all the same, and one that does not take some is
// told of them again later: only one that does not answer is lost.
#pragma once

#include "controlplane/kubernetes/gateway_link.h"
#include "controlplane/kubernetes/gateway_routes.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// Immutable, so that the same ones are known by their place. Null: none.
using ProviderRoutes = std::shared_ptr<const std::vector<v1::ProviderRoute>>;

// The sender's thread alone, but for routes().
class GatewayRouting {
 public:
  // `again`: when what was refused is tried again.
  GatewayRouting(GatewayLink& link, std::chrono::milliseconds again);

  // It may be another process from now on. Before all the others.
  void start_over();
  // Has it keep `wanted` and no others, and waits a moment for it to have them. False: it is lost.
  // Who does not decide does not begin by taking away what another adapter may have set.
  bool set(const ProviderRoutes& wanted, bool decides);
  // Which ones it has. False: it is lost, or was started anew.
  bool ask();

  // Any thread. Null: they are not known.
  [[nodiscard]] std::shared_ptr<const GatewayRoutes> routes() const;

 private:
  [[nodiscard]] v1::SetRoutesRequest request_of(const ProviderRoutes& wanted);
  bool send(const v1::SetRoutesRequest& request, bool is_new);
  void note_refused(const v1::SetRoutesResponse& response);
  bool await_routes(const v1::SetRoutesRequest& request);
  void take(const v1::ListRoutesResponse& response);
  void publish(std::shared_ptr<const GatewayRoutes> routes);
  void say(std::string& said, const std::string& what);

  GatewayLink& link_;
  const std::chrono::milliseconds again_;
  std::optional<std::int64_t> started_;  // the gateway

  bool tells_ = true;  // false: it is too old to be asked
  std::uint64_t revision_ = 0;
  std::vector<IpPrefix> destinations_;  // sorted
  std::string said_of_destinations_;    // each thing once

  bool takes_ = true;    // false: it is too old to be told
  bool is_set_ = false;  // what the gateway keeps is as `wanted_`, or refused
  ProviderRoutes wanted_;
  std::uint64_t print_ = 0;                     // of it
  std::map<std::string, std::string> refused_;  // by destination: why
  std::optional<std::chrono::steady_clock::time_point> retry_;
  std::string said_of_wanted_;

  mutable std::mutex mutex_;
  std::shared_ptr<const GatewayRoutes> routes_;
};

}  // namespace sluice::kubernetes
