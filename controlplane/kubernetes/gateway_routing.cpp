// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/gateway_routing.h"

#include "controlplane/kubernetes/batch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace sluice::kubernetes {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kProviderRoutesMax = 10'000;  // proto/sluice/v1/gateway.proto
// As many routes as there may be take the kernel less than a second.
constexpr std::chrono::milliseconds kSetDeadline{5'000};
// A gateway hears of a route from the kernel, in a millisecond or two.
constexpr std::chrono::milliseconds kAppearPause{20};
constexpr int kAppearTries = 25;

bool is_gone(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::CANCELLED;
}

std::string text_of(const v1::ProviderRoute& route) {
  return route.destination() + " via " + route.gateway();
}

}  // namespace

GatewayRouting::GatewayRouting(GatewayLink& link, std::chrono::milliseconds again)
    : link_(link), again_(again) {}

void GatewayRouting::start_over() {
  started_ = link_.ask_started();
  tells_ = true;
  takes_ = true;
  is_set_ = false;
  retry_.reset();
}

bool GatewayRouting::set(const ProviderRoutes& wanted, bool decides) {
  const bool retries = retry_ && steady_clock::now() >= *retry_;
  if (!takes_ || (is_set_ && wanted == wanted_ && !retries)) {
    return true;
  }
  if (!is_set_ && (!wanted || wanted->empty()) && !decides) {
    return true;
  }
  const v1::SetRoutesRequest request = request_of(wanted);
  std::size_t bytes = 0;
  const std::uint64_t print = print_of(request, bytes);
  wanted_ = wanted;
  const bool is_new = !is_set_ || print != print_;
  if (!is_new && !retries) {
    return true;
  }
  print_ = print;
  return send(request, is_new);
}

// In an order of their own, and not such that the gateway would refuse all of them.
v1::SetRoutesRequest GatewayRouting::request_of(const ProviderRoutes& wanted) {
  std::vector<v1::ProviderRoute> routes;
  if (wanted) {
    routes = *wanted;
  }
  const auto destination = [](const v1::ProviderRoute& route) { return route.destination(); };
  std::stable_sort(routes.begin(), routes.end(),
                   [&](const auto& a, const auto& b) { return destination(a) < destination(b); });
  routes.erase(
      std::unique(routes.begin(), routes.end(),
                  [&](const auto& a, const auto& b) { return destination(a) == destination(b); }),
      routes.end());
  if (routes.size() > kProviderRoutesMax) {
    say(said_of_wanted_, "of " + std::to_string(routes.size()) +
                             " routes to pods a gateway takes " +
                             std::to_string(kProviderRoutesMax));
    routes.resize(kProviderRoutesMax);
  }
  v1::SetRoutesRequest request;
  request.set_provider(link_.provider());
  request.mutable_routes()->Assign(routes.begin(), routes.end());
  return request;
}

bool GatewayRouting::send(const v1::SetRoutesRequest& request, bool is_new) {
  v1::SetRoutesResponse response;
  const grpc::Status status =
      link_.call(&GatewayLink::Gateway::SetRoutes, kSetDeadline, request, response);
  if (is_gone(status)) {
    link_.lost(client::error_of(status));
    return false;
  }
  is_set_ = true;
  retry_.reset();
  if (status.ok()) {
    const std::size_t refused = refused_.size();
    note_refused(response);
    return !is_new && refused_.size() >= refused ? true : await_routes(request);
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    takes_ = false;
    if (!request.routes().empty()) {
      say(said_of_wanted_, "it is too old to be given routes to pods");
    }
    return true;
  }
  // Its services are more than its routes.
  retry_ = steady_clock::now() + again_;
  say(said_of_wanted_, "it does not take the routes to pods: " +
                           client::name_of(status.error_code()) + ": " + status.error_message());
  return true;
}

void GatewayRouting::note_refused(const v1::SetRoutesResponse& response) {
  std::map<std::string, std::string> refused;
  for (const auto& each : response.refused()) {
    const std::string why = text_of(each.route()) + ": " + each.reason();
    const auto before = refused_.find(each.route().destination());
    if (before == refused_.end() || before->second != why) {
      spdlog::warn("{}: route to pods refused: {}", link_.gateway(), why);
    }
    refused.emplace(each.route().destination(), why);
  }
  refused_ = std::move(refused);
  if (!refused_.empty()) {
    retry_ = steady_clock::now() + again_;
  }
}

// Else services would be translated for a gateway without them, and again a moment later: their
// flows would go to nodes and then lose them.
bool GatewayRouting::await_routes(const v1::SetRoutesRequest& request) {
  std::vector<IpAddress> awaited;
  for (const v1::ProviderRoute& route : request.routes()) {
    const auto prefix = parse_prefix(route.destination());
    if (prefix && !refused_.contains(route.destination())) {
      awaited.push_back(prefix->address);
    }
  }
  if (awaited.empty()) {
    return true;
  }
  for (int tries = kAppearTries; tries > 0; --tries) {
    if (!ask()) {
      return false;
    }
    const auto known = routes();
    if (!known || std::all_of(awaited.begin(), awaited.end(), [&](const IpAddress& address) {
          return known->find(address) != nullptr;
        })) {
      break;
    }
    if (!link_.pause(kAppearPause)) {
      return false;
    }
  }
  return true;
}

bool GatewayRouting::ask() {
  if (!tells_) {
    return true;
  }
  v1::ListRoutesRequest request;
  request.set_known_revision(revision_);
  v1::ListRoutesResponse response;
  const grpc::Status status =
      link_.call(&GatewayLink::Gateway::ListRoutes, kAskDeadline, request, response);
  if (status.ok()) {
    if (response.revision() == revision_) {
      return true;
    }
    // Its start changes the revision too, and may be shorter than a poll.
    const auto started = link_.ask_started();
    if (started != started_) {
      spdlog::warn("{}: it was started anew; all is sent again", link_.gateway());
      return false;
    }
    take(response);
    return true;
  }
  if (is_gone(status) || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    link_.lost(client::error_of(status));
    return false;
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    tells_ = false;
    revision_ = 0;
    destinations_.clear();
    publish(nullptr);
    say(said_of_destinations_, "it is too old to tell its routes");
    return true;
  }
  say(said_of_destinations_,
      "it does not tell its routes: " + client::name_of(status.error_code()) + ": " +
          status.error_message());
  return true;  // with those that were known
}

void GatewayRouting::take(const v1::ListRoutesResponse& response) {
  revision_ = response.revision();
  std::vector<IpPrefix> destinations;
  destinations.reserve(static_cast<std::size_t>(response.destinations_size()));
  for (const std::string& text : response.destinations()) {
    if (const auto prefix = parse_prefix(text)) {
      destinations.push_back(*prefix);
    } else {
      say(said_of_destinations_, "'" + text + "' is no destination of a route; it is passed over");
    }
  }
  std::sort(destinations.begin(), destinations.end());
  if (routes() != nullptr && destinations == destinations_) {
    return;  // services are as they were
  }
  destinations_ = destinations;
  publish(std::make_shared<const GatewayRoutes>(std::move(destinations)));
}

void GatewayRouting::publish(std::shared_ptr<const GatewayRoutes> routes) {
  const std::lock_guard lock(mutex_);
  routes_ = std::move(routes);
}

std::shared_ptr<const GatewayRoutes> GatewayRouting::routes() const {
  const std::lock_guard lock(mutex_);
  return routes_;
}

void GatewayRouting::say(std::string& said, const std::string& what) {
  if (what != said) {
    spdlog::warn("{}: {}", link_.gateway(), what);
    said = what;
  }
}

}  // namespace sluice::kubernetes
