// SPDX-License-Identifier: Apache-2.0
// What each gateway has said last of each service that it was sent.
#pragma once

#include "controlplane/kubernetes/gateway_sender.h"
#include "controlplane/kubernetes/objects.h"

#include <absl/container/flat_hash_map.h>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// Any thread.
class GatewayAnswers {
 public:
  struct Answer {
    std::vector<std::string> vips;  // it is served at these, a refused one in its last good form
    std::string refusal;            // why it is not as it should be; empty: it is
    std::string resource;           // as Sent's
    std::string owner;
    [[nodiscard]] bool has_all(const std::vector<IpAddress>& vips) const;
    bool operator==(const Answer&) const = default;
  };

  explicit GatewayAnswers(std::size_t gateways) : of_(gateways) {}

  // Of services that a gateway, by its number, was sent. `all`: it has no others. Answers those
  // of which it says something else than before.
  std::vector<ServiceName> take(std::size_t gateway, const std::vector<Sent>& sent, bool all);
  // Nothing: the gateway has no such service.
  [[nodiscard]] std::optional<Answer> of(std::size_t gateway, const ServiceName& name) const;
  // At least one gateway serves it at all of these.
  [[nodiscard]] bool is_served(const ServiceName& name, const std::vector<IpAddress>& vips) const;

 private:
  using Known = absl::flat_hash_map<ServiceName, Answer>;

  mutable std::mutex mutex_;
  std::vector<Known> of_;
};

}  // namespace sluice::kubernetes
