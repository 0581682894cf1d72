// SPDX-License-Identifier: Apache-2.0
// The handlers for what providers ask and say besides their services: where the gateway has routes
// to, routes of theirs, and why something is not served.
#include "controlplane/api/convert.h"
#include "controlplane/api/error.h"
#include "controlplane/api/gateway_service.h"
#include "controlplane/model/validate.h"
#include "controlplane/runtime/backend_routes.h"
#include "controlplane/runtime/service_reports.h"

#include <set>

namespace sluice::api {
namespace {

constexpr int kRoutesMax = 10'000;

void check_provider(const std::string& provider, model::Faults& faults) {
  if (!model::is_label(provider)) {
    faults.add("provider", "'" + provider +
                               "' is not a name; it is 1 to 63 of a-z, 0-9 and '-', not beginning "
                               "or ending with '-'");
  }
}

std::vector<runtime::BackendRoutes::Route> to_routes(const v1::SetRoutesRequest& request,
                                                     model::Faults& faults) {
  std::vector<runtime::BackendRoutes::Route> routes;
  std::set<IpPrefix> seen;
  for (int i = 0; i < request.routes_size(); ++i) {
    const v1::ProviderRoute& route = request.routes(i);
    const std::string path = "routes[" + std::to_string(i) + "]";
    const auto destination = parse_prefix(route.destination());
    const auto gateway = parse_ip(route.gateway());
    if (!destination || destination->length == 0) {
      faults.add(path + ".destination",
                 "'" + route.destination() +
                     "' is no prefix of its own; write it like 10.244.1.0/24 or 2001:db8::/64");
    } else if (!seen.insert(*destination).second) {
      faults.add(path + ".destination", route.destination() + " is there twice; remove one");
    }
    if (!gateway) {
      faults.add(path + ".gateway", "'" + route.gateway() + "' is not an IP address");
    } else if (destination && destination->address.family != gateway->family) {
      faults.add(path + ".gateway", route.gateway() + " is of another family than its destination");
    }
    if (destination && gateway) {
      routes.push_back({*destination, *gateway});
    }
  }
  return routes;
}

// A provider routes what may be backends of its own, from the first address to the last.
std::string why_not_routed(const model::BackendRanges& ranges, const std::string& provider,
                           const IpPrefix& destination) {
  const auto range = model::parse_address_range(to_string(destination));
  const std::string first = ranges.why_not(provider, range->first);
  return first.empty() ? ranges.why_not(provider, range->last) : first;
}

runtime::ServiceReport to_report(const v1::ServiceReport& message, const std::string& path,
                                 model::Faults& faults) {
  runtime::ServiceReport report{to_name(message.name()), message.reason(), message.message()};
  if (!model::is_label(report.name.name) || !model::is_label(report.name.space)) {
    faults.add(path + ".name",
               "'" + to_string(report.name) + "' is not the name of a service in a namespace");
  }
  if (report.reason.size() > runtime::ServiceReports::kReasonBytesMax) {
    faults.add(path + ".reason", "more than 128 characters; shorten it");
  }
  if (report.message.size() > runtime::ServiceReports::kMessageBytesMax) {
    faults.add(path + ".message", "more than 1024 bytes; shorten it");
  }
  return report;
}

}  // namespace

grpc::Status GatewayService::ListRoutes(grpc::ServerContext* /*context*/,
                                        const v1::ListRoutesRequest* request,
                                        v1::ListRoutesResponse* response) {
  const auto view = reconciler_.destinations(request->known_revision());
  if (view.revision == 0) {
    return to_status(
        {.code = model::Code::kUnavailable, .message = "the gateway is shutting down"});
  }
  response->set_revision(view.revision);
  for (const IpPrefix& destination : view.destinations) {
    response->add_destinations(to_string(destination));
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::SetRoutes(grpc::ServerContext* /*context*/,
                                       const v1::SetRoutesRequest* request,
                                       v1::SetRoutesResponse* response) {
  model::Faults faults;
  check_unknown(*request, faults);
  check_provider(request->provider(), faults);
  if (request->routes_size() > kRoutesMax) {
    faults.add("routes", std::to_string(request->routes_size()) + " are more than 10000");
  }
  auto routes = to_routes(*request, faults);
  if (!faults.empty()) {
    return to_status(faults.to_error());
  }
  const auto refuse = [&](const runtime::BackendRoutes::Route& route, const std::string& reason) {
    auto& refused = *response->add_refused();
    refused.mutable_route()->set_destination(to_string(route.destination));
    refused.mutable_route()->set_gateway(to_string(route.gateway));
    refused.set_reason(reason);
  };
  std::erase_if(routes, [&](const runtime::BackendRoutes::Route& route) {
    const std::string why_not = why_not_routed(ranges_, request->provider(), route.destination);
    if (!why_not.empty()) {
      refuse(route, why_not);
    }
    return !why_not.empty();
  });
  for (const auto& [route, reason] : routes_.set(request->provider(), routes)) {
    refuse(route, reason);
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::ReportServices(grpc::ServerContext* /*context*/,
                                            const v1::ReportServicesRequest* request,
                                            v1::ReportServicesResponse* /*response*/) {
  model::Faults faults;
  check_unknown(*request, faults);
  check_provider(request->provider(), faults);
  std::vector<runtime::ServiceReport> reports;
  reports.reserve(static_cast<std::size_t>(request->reports_size()));
  for (int i = 0; i < request->reports_size(); ++i) {
    reports.push_back(to_report(request->reports(i), "reports[" + std::to_string(i) + "]", faults));
  }
  if (!faults.empty()) {
    return to_status(faults.to_error());
  }
  const auto taken = reports_.take(request->provider(), std::move(reports), request->replace());
  return taken ? grpc::Status::OK : to_status(taken.error());
}

}  // namespace sluice::api
