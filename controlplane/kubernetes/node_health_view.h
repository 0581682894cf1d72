// SPDX-License-Identifier: Apache-2.0
// What nodes say of themselves when they are asked: whether they take what comes by node ports.
#pragma once

#include "controlplane/kubernetes/objects.h"

#include <cstdint>
#include <string>

namespace sluice::kubernetes {

// Any thread.
class NodeHealth {
 public:
  virtual ~NodeHealth() = default;
  // kUnknown: not asked, or not often enough to be believed.
  enum class State : std::uint8_t { kUnknown, kUp, kDown };
  // Of kube-proxy's /healthz at port 10256: down also while the node is about to go (2.4).
  [[nodiscard]] virtual State kube_proxy(const std::string& node) const = 0;
  // Of the service's healthCheckNodePort: down while no ready endpoint of it is there (2.4).
  [[nodiscard]] virtual State local(const std::string& node, const ServiceName& service) const = 0;
};

}  // namespace sluice::kubernetes
