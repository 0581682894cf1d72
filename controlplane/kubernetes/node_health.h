// SPDX-License-Identifier: Apache-2.0
// Asks nodes whether they take what comes by their node ports (KUBERNETES.md 2.4): kube-proxy at
// its health port, and, for a service with externalTrafficPolicy Local, its healthCheckNodePort.
#pragma once

#include "controlplane/kubernetes/cluster_state.h"
#include "controlplane/kubernetes/node_health_view.h"
#include "dataplane/net/address.h"

#include <absl/container/flat_hash_map.h>
#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sluice::kubernetes {

inline constexpr std::uint16_t kKubeProxyHealthPort = 10256;

// One URL to ask: http://ADDRESS:PORT/healthz.
struct ProbeTarget {
  std::string node;
  std::optional<ServiceName> service;  // whose healthCheckNodePort it is; none: kube-proxy's port
  IpAddress address;
  std::uint16_t port = 0;

  friend auto operator<=>(const ProbeTarget&, const ProbeTarget&) = default;
};

// Decided where services are translated, so that exactly those nodes are asked that get something.
struct ProbeRules {
  std::function<bool(const ServiceView&)> goes_to_nodes;
  std::function<bool(const Node&)> may_be_next_hop;
};

// Whom to ask: of each Local service with a healthCheckNodePort the nodes with an endpoint of it
// that may be used; kube-proxy of all nodes, when a service that goes to nodes has no such port. A
// node is asked at its first InternalIP, where kube-proxy listens with all its settings.
[[nodiscard]] std::vector<ProbeTarget> probe_targets(const std::vector<ServiceView>& services,
                                                     const Nodes& nodes, const ProbeRules& rules);

struct ProbeSettings {
  std::chrono::milliseconds interval{5'000};
  // A zone that is away keeps one of them busy for 2 s for each of its targets; the others are to
  // be asked in time all the same. Far from the usual limit of 1,024 descriptors.
  std::size_t concurrent_max = 256;
};

// 200 means up, any other status down at once. No answer means down at the third time in a row: a
// lost packet is no signal. But only where an answer is to be expected:
//  - A port that has answered before.
//  - A port that has not, while the same port of other nodes has, and the node itself is silent: a
//    node that was dead when this adapter began. One that refuses is alive, and nothing listens:
//    some replacements of kube-proxy have no port 10256 unless told so (Cilium).
// Anything else stays unknown.
class NodeHealthProber final : public NodeHealth {
 public:
  // A node's kube-proxy, or a service at one of its nodes, went down, or is down no longer. Between
  // unknown and up there is no change: they count alike.
  struct Changes {
    std::vector<std::string> nodes;
    std::vector<ServiceName> services;
  };
  using Targets = std::function<std::vector<ProbeTarget>()>;
  using Changed = std::function<void(const Changes&)>;
  // Both are called from the prober's thread, without its lock: `targets` at once, and at most once
  // a second after targets_changed(); `changed` at most ten times a second.
  NodeHealthProber(const ProbeSettings& settings, Targets targets, Changed changed);
  // As stop(), which ends within milliseconds, whoever hangs.
  ~NodeHealthProber() override;
  NodeHealthProber(const NodeHealthProber&) = delete;
  NodeHealthProber& operator=(const NodeHealthProber&) = delete;

  // Nothing is called before, so that what the callbacks reach may refer to this one.
  void start();
  // Any thread. What stays in the set keeps its state.
  void targets_changed();
  // Any thread; unknown for what is not asked.
  [[nodiscard]] State kube_proxy(const std::string& node) const override;
  [[nodiscard]] State local(const std::string& node, const ServiceName& service) const override;

  // Nothing is called any more, and nothing asked; what is known can still be read.
  void stop();

 private:
  class Loop;
  struct StatesOfNode {
    State kube_proxy = State::kUnknown;
    absl::flat_hash_map<ServiceName, State> local;
  };

  void set(const ProbeTarget& target, State state);
  [[nodiscard]] bool take_dirty();
  [[nodiscard]] bool is_dirty() const;
  [[nodiscard]] bool is_stopped() const;

  const ProbeSettings settings_;
  const Targets targets_;
  const Changed changed_;
  void* multi_;  // CURLM; the thread's, but for waking it
  mutable std::mutex mutex_;
  bool stop_ = false;
  bool dirty_ = true;
  absl::flat_hash_map<std::string, StatesOfNode> states_;  // writer: the thread
  std::thread thread_;
};

}  // namespace sluice::kubernetes
