// SPDX-License-Identifier: Apache-2.0
// Services as far as addresses are concerned.
#pragma once

#include "controlplane/kubernetes/addresses.h"
#include "tests/unit/controlplane/model/pools.h"

#include <string>
#include <utility>
#include <vector>

namespace sluice::kubernetes {

using model::ip;
using model::pool;

inline std::vector<IpAddress> ips(const std::vector<std::string>& texts) {
  std::vector<IpAddress> addresses;
  for (const std::string& text : texts) {
    addresses.push_back(ip(text));
  }
  return addresses;
}

// shop/NAME: IPv4, one port 80/TCP.
struct Wish {
  explicit Wish(const std::string& name) {
    service.meta.name = {"shop", name};
    service.type = "LoadBalancer";
    service.ip_families = {"IPv4"};
    service.ip_family_policy = "SingleStack";
    service.ports = {{.name = "", .protocol = "TCP", .port = 80, .app_protocol = ""}};
  }
  Wish& dual(const std::string& policy) {
    service.ip_families = {"IPv4", "IPv6"};
    service.ip_family_policy = policy;
    return *this;
  }
  Wish& key(const std::string& key) {
    service.meta.annotations[model::kSharedIpAnnotation] = key;
    return *this;
  }
  Wish& from(const std::string& pool) {
    service.meta.annotations[model::kAddressPoolAnnotation] = pool;
    return *this;
  }
  Wish& port(const std::string& protocol, std::int64_t number) {
    service.ports = {{.name = "", .protocol = protocol, .port = number, .app_protocol = ""}};
    return *this;
  }
  Wish& and_port(const std::string& protocol, std::int64_t number) {
    service.ports.push_back(
        {.name = "p", .protocol = protocol, .port = number, .app_protocol = ""});
    return *this;
  }
  Wish& status(const std::vector<std::string>& addresses) {
    service.ingress.clear();
    for (const std::string& address : addresses) {
      service.ingress.push_back({.ip = address, .ip_mode = "VIP"});
    }
    return *this;
  }
  Wish& label(const std::string& name, const std::string& value) {
    service.meta.labels[name] = value;
    return *this;
  }
  Wish& in(const std::string& space) {
    service.meta.name.space = space;
    return *this;
  }

  Service service;
};

inline std::string text_of(const std::vector<IpAddress>& addresses) {
  std::string text;
  for (const IpAddress& address : addresses) {
    text += (text.empty() ? "" : " ") + sluice::to_string(address);
  }
  return text;
}

// "192.0.2.0 2001:db8::", and after it why not all, in parentheses.
inline std::string given(Addresses& addresses, const Wish& wish,
                         const std::vector<std::string>& requested = {}) {
  const auto outcome = addresses.assign(wish.service, ips(requested));
  std::string text = text_of(outcome.vips);
  if (!outcome.why_not.empty()) {
    text += (text.empty() ? "(" : " (") + outcome.why_not + ")";
  }
  return text;
}
inline std::string held(const Addresses& addresses, const Wish& wish) {
  return text_of(addresses.of(wish.service.meta.name));
}

}  // namespace sluice::kubernetes
