// SPDX-License-Identifier: Apache-2.0
// The first hour with a cluster: what would keep its services from being served, looked for before
// anything is served, and each with the way out. Changes nothing in the cluster; at the gateways
// only what a probe needs, for as long as it lasts.
#pragma once

#include "controlplane/kubernetes/cluster_state.h"
#include "controlplane/kubernetes/gateway_routes.h"
#include "controlplane/kubernetes/settings.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::kubernetes {

// One line each, as it is found; the marks are for people and for grep.
class Report {
 public:
  explicit Report(std::FILE* out) : out_(out) {}
  void heading(const std::string& what);
  void ok(const std::string& what) { line("ok   ", what); }
  void note(const std::string& what) { line("note ", what); }
  void warning(const std::string& what);
  // Services are not served, or not all of them, until this is mended.
  void fault(const std::string& what);

  [[nodiscard]] int faults() const { return faults_; }
  [[nodiscard]] int warnings() const { return warnings_; }

 private:
  void line(const char* mark, const std::string& what);
  std::FILE* out_;
  int faults_ = 0;
  int warnings_ = 0;
};

// The whole of it; 0: no fault was found, 1: some were.
int diagnose(const Settings& settings, const ClusterAccess& access, std::FILE* out);

// The parts. Each goes on after what it finds.

// Whether the API server answers, and these credentials may do all that the adapter does there
// (SelfSubjectAccessReview). False: it does not answer.
bool examine_access(const Settings& settings, const ClusterAccess& access, Credentials& credentials,
                    Report& report);
// Who writes to the cluster, and whether others claim the same services.
void examine_claims(const Settings& settings, const ClusterState& state, Report& report);
// What a gateway is and has, and what it lacks for this cluster. False: it does not answer.
bool examine_gateway(const Settings& settings, v1::Gateway::StubInterface& gateway, Report& report);
// Whether it has routes to pods, and what follows from that for their services. Nothing: it does
// not say.
std::optional<GatewayRoutes> examine_routes(const Settings& settings, const ClusterState& state,
                                            v1::Gateway::StubInterface& gateway, Report& report);
// Connects to one pod of each node, or to its node port where services go by these, by the way of
// clients: a VIP for the time of it, the lcores, a SNAT address. What they take by their MSS is
// held against the ports' MTU.
void probe_backends(const Settings& settings, const ClusterState& state,
                    const std::optional<GatewayRoutes>& routes, v1::Gateway::StubInterface& gateway,
                    Report& report);

}  // namespace sluice::kubernetes
