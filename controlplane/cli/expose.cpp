// SPDX-License-Identifier: Apache-2.0
// expose: a service from words, as kubectl makes one.
#include "controlplane/cli/session.h"

#include <fmt/format.h>

#include <charconv>

namespace sluice::cli {
namespace {

constexpr const char* kExposeExternalName = "sluice.dev/expose-external-name";

std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = error == std::errc{} && end == text.data() + text.size();
  return is_whole ? std::optional(number) : std::nullopt;
}

// ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT. An IPv6 address with a port is in brackets.
bool take_address(std::string_view text, v1::Endpoint& endpoint) {
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) {
      return false;
    }
    port = text.substr(close + 1);
    text = text.substr(1, close - 1);
    if (!port.empty() && !port.starts_with(':')) {
      return false;
    }
  } else if (const std::size_t colon = text.find(':');
             colon != std::string_view::npos && text.find(':', colon + 1) == text.npos) {
    port = text.substr(colon);
    text = text.substr(0, colon);
  }
  endpoint.add_addresses(std::string(text));
  if (port.empty()) {
    return true;
  }
  const auto number = number_of(port.substr(1));
  if (!number || *number > 65'535) {
    return false;
  }
  (*endpoint.mutable_ports())[kExposedPortName] = static_cast<std::int32_t>(*number);
  return true;
}

}  // namespace

std::optional<v1::Endpoint> backend_of(const std::string& text) {
  v1::Endpoint endpoint;
  const std::size_t comma = text.find(',');
  if (comma != std::string::npos) {
    const std::string_view option = std::string_view(text).substr(comma + 1);
    constexpr std::string_view kWeight = "weight=";
    const auto weight = option.starts_with(kWeight) ? number_of(option.substr(kWeight.size()))
                                                    : std::optional<std::uint32_t>{};
    if (!weight) {
      return std::nullopt;
    }
    endpoint.set_weight(*weight);
  }
  return take_address(std::string_view(text).substr(0, comma), endpoint) ? std::optional(endpoint)
                                                                         : std::nullopt;
}

int expose(const Session& session) {
  const Options& options = session.options;
  v1::ApplyRequest request = request_of(options);
  request.set_create(true);
  v1::Service& service = *request.add_upsert();
  service.mutable_metadata()->set_name(options.names[0]);
  service.mutable_metadata()->set_namespace_(options.namespace_filter());
  v1::ServiceSpec& spec = *service.mutable_spec();
  spec.set_type(options.expose.type);
  spec.set_load_balancer_ip(options.expose.load_balancer_ip);
  for (const std::string& address : options.expose.external_ips) {
    spec.add_external_ips(address);
  }
  for (const auto& [key, value] : options.expose.selector) {
    (*spec.mutable_selector())[key] = value;
  }
  spec.set_external_name(options.expose.external_name);
  if (!options.expose.external_name.empty()) {
    // Whoever exposes a name means it.
    (*service.mutable_metadata()->mutable_annotations())[kExposeExternalName] = "true";
  }
  v1::ServicePort& port = *spec.add_ports();
  port.set_protocol(options.expose.protocol);
  port.set_port(options.expose.port);
  port.set_target_port(options.expose.target_port);
  port.set_node_port(options.expose.node_port);
  for (const v1::Endpoint& endpoint : options.expose.backends) {
    if (!endpoint.ports().empty()) {
      port.set_name(kExposedPortName);
    }
    *spec.add_endpoints() = endpoint;
    *spec.mutable_endpoints()->rbegin()->mutable_labels() = spec.selector();
  }
  v1::ApplyResponse response;
  if (const auto error = call(session, &v1::Gateway::StubInterface::Apply, request, response)) {
    return report(session, *error);
  }
  if (!print_message(session, response)) {
    session.out << fmt::format("service/{} exposed{}\n", options.names[0],
                               options.dry_run ? " (dry run)" : "");
  }
  return kOk;
}

}  // namespace sluice::cli
