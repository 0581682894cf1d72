// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/adapter.h"

#include "controlplane/client/channel.h"
#include "controlplane/kubernetes/endpoints.h"
#include "controlplane/kubernetes/pod_routes.h"

#include <absl/strings/str_format.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <unistd.h>

namespace sluice::kubernetes {
namespace {

// As kube-proxy selects them (KUBERNETES.md 2.1). All Services are seen: one that gets the label of
// another proxy has to be let go.
constexpr const char* kSlices = "!service.kubernetes.io/headless";

constexpr std::chrono::seconds kFirstTry{2};

// Distinct for each process, and readable.
std::string identity_of_process() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return std::string(host) + "_" + absl::StrFormat("%x", absl::ToUnixMicros(absl::Now())) + "-" +
         std::to_string(getpid());
}

std::optional<model::AddressPool> to_pool(const v1::AddressPoolStatus& message) {
  model::AddressPool pool;
  pool.name = message.name();
  for (const std::string& text : message.addresses()) {
    const auto range = model::parse_address_range(text);
    if (!range) {
      return std::nullopt;
    }
    pool.ranges.push_back(*range);
  }
  pool.auto_assign = message.auto_assign();
  pool.avoid_buggy_ips = message.avoid_buggy_ips();
  pool.providers.assign(message.providers().begin(), message.providers().end());
  pool.namespaces.assign(message.namespaces().begin(), message.namespaces().end());
  pool.service_selector.insert(message.service_selector().begin(),
                               message.service_selector().end());
  return pool;
}

}  // namespace

Adapter::Adapter(const Settings& settings, const ClusterAccess& access)
    : settings_(settings),
      access_(access),
      credentials_(access),
      state_([this](const std::vector<ServiceName>& names) { changed(names); }) {
  for (const std::string& gateway : settings_.gateways) {
    gateways_.push_back(v1::Gateway::NewStub(client::connect(gateway, settings_.tls).channel));
    pool_links_.push_back(
        std::make_unique<GatewayLink>(gateway, settings_.provider, gateways_.back()));
  }
  if (settings_.node_health.count() > 0) {
    health_ = std::make_unique<NodeHealthProber>(
        ProbeSettings{.interval = settings_.node_health}, [this] { return ask_whom(); },
        [this](const NodeHealthProber::Changes& changes) { nodes_changed(changes); });
  }
  const std::string identity = identity_of_process();
  controller_ = std::make_unique<Controller>(
      settings_, identity, state_, access_, credentials_,
      Controller::Outside{
          [this](const std::vector<ServiceName>& names) {
            for (const auto& sender : senders_) {
              sender->changed(names);
            }
          },
          [this] { return ask_pools(); },
          [this](std::size_t gateway) { return senders_[gateway]->counts().in_step; },
          [this](std::size_t gateway) { return senders_[gateway]->counts().is_away; },
          [this](std::size_t gateway) { return senders_[gateway]->counts().announces; },
          [this] { return known_routes(); },
          [this](const ServiceName& name) { return ask_forwarding_mode(name); }, health_.get()});
  for (std::size_t gateway = 0; gateway < gateways_.size(); ++gateway) {
    start_sender(gateway);
  }
  if (health_ != nullptr) {
    health_->start();
  }
  const LeaseSettings lease{.space = lease_namespace_of(settings_, access_),
                            .name = lease_name_of(settings_),
                            .identity = identity};
  election_ = std::make_unique<LeaderElection>(
      lease, access_, credentials_,
      [this](auto leads, auto until) { controller_->set_leads(leads, until); });
  // Whoever leads from the start need not list the services twice (Controller::take_over).
  election_->await_first_try(kFirstTry);
  const auto reflect = [this](const char* what, const char* path, const char* selector,
                              ObjectSink& sink) {
    reflectors_.push_back(std::make_unique<Reflector>(
        ReflectorSettings{.what = what, .path = path, .selector = selector}, access_, credentials_,
        sink));
  };
  reflect("services", "/api/v1/services", "", state_.services());
  reflect("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", kSlices, state_.slices());
  reflect("nodes", "/api/v1/nodes", "", state_.nodes());
}

// What calls another is gone before it.
Adapter::~Adapter() {
  reflectors_.clear();
  for (const auto& link : pool_links_) {
    link->stop();  // the controller may be asking one that does not answer
  }
  if (health_ != nullptr) {
    health_->stop();
  }
  controller_->stop();
  election_.reset();  // only now may another one write
  senders_.clear();
}

void Adapter::start_sender(std::size_t gateway) {
  senders_.push_back(std::make_unique<GatewaySender>(
      SenderSettings{.gateway = settings_.gateways[gateway], .provider = settings_.provider},
      gateways_[gateway],
      Wanted{.is_synced = [this] { return state_.is_synced(); },
             .names = [this] { return state_.service_names(); },
             .service = [this, gateway](
                            const ServiceName& name,
                            const GatewayRoutes* routes) { return wanted(gateway, name, routes); },
             .decides = [this] { return controller_->leads(); },
             .routes = [this] { return pod_routes(); }},
      [this, gateway](const std::vector<Sent>& sent, bool all) {
        controller_->sent(gateway, sent, all);
      }));
}

// All gateways of a cluster are to have the same pools: the first one that answers is asked.
std::optional<std::vector<model::AddressPool>> Adapter::ask_pools() {
  for (const auto& link : pool_links_) {
    v1::ListAddressPoolsResponse response;
    if (!link->call(&GatewayLink::Gateway::ListAddressPools, kAskDeadline,
                    v1::ListAddressPoolsRequest{}, response)
             .ok()) {
      continue;
    }
    std::vector<model::AddressPool> pools;
    for (const v1::AddressPoolStatus& message : response.pools()) {
      if (auto pool = to_pool(message)) {
        pools.push_back(std::move(*pool));
      }
    }
    return pools;
  }
  return std::nullopt;
}

// The first gateway that serves it is asked.
std::string Adapter::ask_forwarding_mode(const ServiceName& name) {
  v1::GetServiceRequest request;
  request.set_provider(settings_.provider);
  request.mutable_name()->set_namespace_(name.space);
  request.mutable_name()->set_name(name.name);
  for (const auto& link : pool_links_) {
    v1::Service response;
    if (link->call(&GatewayLink::Gateway::GetService, kAskDeadline, request, response).ok()) {
      return response.status().forwarding_mode();
    }
  }
  return "";
}

void Adapter::changed(const std::vector<ServiceName>& names) {
  for (const auto& sender : senders_) {
    sender->changed(names);
  }
  controller_->changed(names);
  if (health_ != nullptr) {
    health_->targets_changed();
  }
}

WantedService Adapter::wanted(std::size_t gateway, const ServiceName& name,
                              const GatewayRoutes* routes) {
  const ServiceView view = state_.view(name);
  if (view.service == nullptr) {
    note_delivery(gateway, name, std::nullopt);
    return {};
  }
  const std::shared_ptr<const Nodes> nodes = state_.all_nodes();
  Translation made = translate(
      *view.service, view.slices,
      {.nodes = *nodes, .routes = routes, .health = health_.get(), .loses_clients = false},
      controller_->vips_of(*view.service), settings_.translate);
  note_delivery(gateway, name, made.delivery);
  // Of the others nobody expects that they are served here.
  const bool ours = claim_of(*view.service, settings_.translate) == Claim::kOurs;
  return {.service = std::move(made.service),
          .why_not = ours ? std::move(made.why_not) : "",
          .findings = std::move(made.findings)};
}

// Nodes are asked as long as something goes to them from a gateway; what the cluster is told of a
// service depends on the first gateway's way.
void Adapter::note_delivery(std::size_t gateway, const ServiceName& name,
                            const std::optional<DeliveryChoice>& choice) {
  const std::uint64_t bit = std::uint64_t{1} << (gateway % 64);
  Way before;
  Way after;
  {
    const std::lock_guard lock(ways_mutex_);
    Way& way = ways_[name];
    before = way;
    const bool to_nodes = choice && choice->delivery == Delivery::kNode;
    way.to_nodes = to_nodes ? way.to_nodes | bit : way.to_nodes & ~bit;
    way.why = choice && gateway == 0 ? choice->why : way.why;
    after = way;
    if (!choice && way.to_nodes == 0) {
      ways_.erase(name);
    }
  }
  if (health_ != nullptr && (before.to_nodes == 0) != (after.to_nodes == 0)) {
    health_->targets_changed();
  }
  if (before.why != after.why || before.to_nodes != after.to_nodes) {
    controller_->changed({name});
  }
}

// Made anew only when the nodes have changed: each sender asks before each write.
ProviderRoutes Adapter::pod_routes() {
  if (!settings_.routes_pods_by_nodes) {
    return nullptr;
  }
  auto nodes = state_.all_nodes();
  const std::lock_guard lock(pod_routes_mutex_);
  if (nodes != routed_nodes_) {
    pod_routes_ = std::make_shared<const std::vector<v1::ProviderRoute>>(pod_routes_of(*nodes));
    routed_nodes_ = std::move(nodes);
  }
  return pod_routes_;
}

// Of the first gateway that has told them.
std::shared_ptr<const GatewayRoutes> Adapter::known_routes() const {
  for (const auto& sender : senders_) {
    if (auto routes = sender->routes()) {
      return routes;
    }
  }
  return nullptr;
}

std::vector<ProbeTarget> Adapter::ask_whom() {
  if (!state_.is_synced()) {
    return {};
  }
  std::vector<ServiceView> views;
  {
    const std::lock_guard lock(ways_mutex_);
    for (const auto& [name, way] : ways_) {
      if (way.to_nodes != 0) {
        views.push_back(state_.view(name));
      }
    }
  }
  return probe_targets(
      views, *state_.all_nodes(),
      {[](const ServiceView& view) { return view.service != nullptr; }, &may_be_next_hop});
}

void Adapter::nodes_changed(const NodeHealthProber::Changes& changes) {
  std::vector<ServiceName> names = changes.services;
  if (!changes.nodes.empty()) {
    const std::lock_guard lock(ways_mutex_);
    for (const auto& [name, way] : ways_) {
      if (way.to_nodes != 0) {
        names.push_back(name);
      }
    }
  }
  changed(names);
}

}  // namespace sluice::kubernetes
