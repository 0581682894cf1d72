// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/doctor.h"

#include "controlplane/client/channel.h"
#include "controlplane/kubernetes/reflector.h"

#include <chrono>
#include <thread>

namespace sluice::kubernetes {
namespace {

constexpr std::chrono::seconds kListPatience{15};

// All objects, once; false when they did not come.
bool read_cluster(const ClusterAccess& access, Credentials& credentials, ClusterState& state) {
  const auto reflect = [&](const char* what, const char* path, ObjectSink& sink) {
    return std::make_unique<Reflector>(
        ReflectorSettings{.what = what, .path = path, .selector = ""}, access, credentials, sink);
  };
  const auto services = reflect("services", "/api/v1/services", state.services());
  const auto slices =
      reflect("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", state.slices());
  const auto nodes = reflect("nodes", "/api/v1/nodes", state.nodes());
  const auto until = std::chrono::steady_clock::now() + kListPatience;
  while (!state.is_synced() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return state.is_synced();
}

}  // namespace

void Report::line(const char* mark, const std::string& what) {
  std::fprintf(out_, "  %s %s\n", mark, what.c_str());
  std::fflush(out_);
}

void Report::heading(const std::string& what) {
  std::fprintf(out_, "%s\n", what.c_str());
}

void Report::warning(const std::string& what) {
  ++warnings_;
  line("WARN ", what);
}

void Report::fault(const std::string& what) {
  ++faults_;
  line("FAULT", what);
}

int diagnose(const Settings& settings, const ClusterAccess& access, std::FILE* out) {
  Report report(out);
  Credentials credentials(access);
  ClusterState state([](const std::vector<ServiceName>&) {});
  report.heading("cluster " + access.server + ", provider " + settings.provider);
  bool has_objects = false;
  if (examine_access(settings, access, credentials, report)) {
    has_objects = read_cluster(access, credentials, state);
    if (has_objects) {
      examine_claims(settings, state, report);
    } else {
      report.fault("services, endpointslices and nodes could not all be listed within 15 s");
    }
  }
  for (const std::string& address : settings.gateways) {
    report.heading("gateway " + address);
    const auto gateway = v1::Gateway::NewStub(client::connect(address, settings.tls).channel);
    if (examine_gateway(settings, *gateway, report) && has_objects) {
      const auto routes = examine_routes(settings, state, *gateway, report);
      probe_backends(settings, state, routes, *gateway, report);
    }
  }
  std::fprintf(out, "%d faults, %d warnings\n", report.faults(), report.warnings());
  return report.faults() == 0 ? 0 : 1;
}

}  // namespace sluice::kubernetes
