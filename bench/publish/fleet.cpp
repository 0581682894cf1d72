// SPDX-License-Identifier: Apache-2.0
#include "bench/publish/fleet.h"

#include <cstdio>

namespace sluice::bench {
namespace {

constexpr std::uint32_t kFirstEndpoint = 0x0a400000;  // 10.64.0.0, up to 10.127.255.255
constexpr std::uint32_t kPodsPerNode = 100;
// Coprime to any number of services that is not a multiple of it.
constexpr std::uint64_t kStride = 7'919;

std::string dotted(std::uint32_t address) {
  char text[16];
  std::snprintf(text, sizeof(text), "%u.%u.%u.%u", address >> 24U, address >> 16U & 0xffU,
                address >> 8U & 0xffU, address & 0xffU);
  return text;
}

}  // namespace

Fleet::Fleet(std::uint32_t services, std::uint32_t endpoints_each)
    : endpoints_each_(endpoints_each), all_(services), next_address_(kFirstEndpoint) {
  for (Service& service : all_) {
    for (std::uint32_t i = 0; i < endpoints_each; ++i) {
      service.push_back({next_address_++, true});
    }
  }
}

void Fleet::fill(std::uint32_t service, v1::Service& message) const {
  v1::ObjectMeta& metadata = *message.mutable_metadata();
  metadata.set_name("service-" + std::to_string(service));
  metadata.set_namespace_("team-" + std::to_string(service % 100));
  v1::ServiceSpec& spec = *message.mutable_spec();
  spec.set_type("LoadBalancer");
  spec.set_allocate_load_balancer_node_ports(false);  // there are fewer than services
  spec.add_load_balancer_ips(dotted(vip(service)));
  v1::ServicePort& port = *spec.add_ports();
  port.set_name("dns");
  port.set_protocol("UDP");
  port.set_port(kPort);
  port.set_target_port(8'080);
  for (const Endpoint& given : all_[service]) {
    v1::Endpoint& endpoint = *spec.add_endpoints();
    endpoint.add_addresses(dotted(given.address));
    endpoint.mutable_conditions()->set_ready(given.ready);
    endpoint.mutable_conditions()->set_serving(given.ready);
    endpoint.mutable_conditions()->set_terminating(false);
    endpoint.set_node_name("node-" + std::to_string(given.address / kPodsPerNode % 10'000));
    endpoint.set_zone(given.address % 2 == 0 ? "zone-a" : "zone-b");
  }
}

std::vector<v1::ApplyRequest> Fleet::everything(std::uint32_t each) const {
  std::vector<v1::ApplyRequest> requests;
  for (std::uint32_t i = 0; i < services(); ++i) {
    if (i % each == 0) {
      requests.emplace_back().set_provider(kProvider);
    }
    fill(i, *requests.back().add_upsert());
  }
  return requests;
}

v1::ApplyRequest Fleet::next_changes(std::uint32_t count) {
  v1::ApplyRequest request;
  request.set_provider(kProvider);
  for (std::uint32_t i = 0; i < count; ++i) {
    fill(change_one(), *request.add_upsert());
  }
  return request;
}

// Which service.
std::uint32_t Fleet::change_one() {
  const std::uint64_t number = changes_++;
  const auto service = static_cast<std::uint32_t>(number * kStride % services());
  Endpoint& endpoint = all_[service][number / services() % endpoints_each_];
  if (number % 2 == 0) {
    endpoint.ready = !endpoint.ready;
  } else {
    endpoint = {next_address_++, true};
  }
  return service;
}

}  // namespace sluice::bench
