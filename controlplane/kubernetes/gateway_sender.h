// SPDX-License-Identifier: Apache-2.0
// One gateway kept equal to what the cluster's objects mean: the provider as a whole when the two
// have lost sight of each other, differences otherwise. One thread for each gateway, so that one
// that is away holds up no other.
//
//   routes to pods -> the gateway's routes -> services as they are for these -> reports of them
#pragma once

#include "controlplane/kubernetes/batch.h"
#include "controlplane/kubernetes/gateway_link.h"
#include "controlplane/kubernetes/gateway_routing.h"
#include "controlplane/kubernetes/service_reports.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sluice::kubernetes {

// What a service is to be at a gateway.
struct WantedService {
  std::optional<v1::Service> service{};  // none: it is not to be served
  std::string why_not{};                 // then, if somebody may expect it to be
  std::vector<Finding> findings{};       // of its form, also when it is served
};

// What a sender asks; any thread.
struct Wanted {
  // False: not all is known yet, and nothing may be sent (KUBERNETES.md 2.9).
  std::function<bool()> is_synced;
  std::function<std::vector<ServiceName>()> names;
  // At a gateway that has these routes; null: they are not known.
  std::function<WantedService(const ServiceName&, const GatewayRoutes*)> service;
  // Of several that write the same provider, the one that is right when they differ.
  std::function<bool()> decides = [] { return true; };
  // That the gateway is to keep. Asked before each write: the same pointer while they are the same.
  std::function<ProviderRoutes()> routes = [] { return ProviderRoutes(); };
};

// What became of a service at a gateway.
struct Sent {
  ServiceName name;
  bool served = false;     // it is there in its present form; false: it is not there, or refused
  std::string refusal{};   // why the gateway did not take it; empty: it did as it was told
  std::string resource{};  // the frontend, or the VIP, that is not to be had; empty: none is named
  std::string owner{};     // "PROVIDER: NAMESPACE/NAME", where the gateway says who has it
  std::vector<std::string> vips{};  // with which it is served
};

struct SenderSettings {
  std::string gateway;  // its address, for the log
  std::string provider;
  std::chrono::milliseconds fold{5};        // changes that come within this go together
  std::chrono::milliseconds poll{1'000};    // is it still the gateway that was written to?
  std::chrono::milliseconds again{10'000};  // when what was refused is tried again, at the earliest
  std::chrono::milliseconds deadline{30'000};  // of a write
};

class GatewaySender {
 public:
  // `all`: the gateway has these and no others.
  using Report = std::function<void(const std::vector<Sent>&, bool all)>;
  // `report` is called from the sender's thread.
  GatewaySender(SenderSettings settings, std::shared_ptr<v1::Gateway::StubInterface> gateway,
                Wanted wanted, Report report);
  ~GatewaySender();
  GatewaySender(const GatewaySender&) = delete;
  GatewaySender& operator=(const GatewaySender&) = delete;

  // Any thread; takes a lock for a moment.
  void changed(const std::vector<ServiceName>& names);
  // Any thread. Those that the gateway had when it was last asked; null: not known.
  [[nodiscard]] std::shared_ptr<const GatewayRoutes> routes() const { return routing_.routes(); }

  struct Counts {
    std::uint64_t replaces = 0;  // of the whole provider
    std::uint64_t writes = 0;    // of differences
    std::uint64_t upserts = 0;
    std::uint64_t deletes = 0;
    std::uint64_t refused = 0;  // services that are refused at present
    bool in_step = false;       // the gateway has all that is wanted but those
    bool is_away = true;        // what it has is not known
    bool announces = false;     // no standby, and it does not drain
  };
  [[nodiscard]] Counts counts() const;

 private:
  using Names = absl::flat_hash_set<ServiceName>;
  enum class Outcome { kDone, kLost };  // kLost: what the gateway has is not known any more

  void run();
  bool await_work(Names& dirty);
  [[nodiscard]] bool has_work() const;
  void note(Outcome outcome);
  Outcome send_all();
  Outcome replace_provider(const std::vector<ServiceName>& names);
  bool is_replaced(const std::vector<ServiceName>& names, std::optional<client::Error>& error);
  Outcome write_nothing();
  Outcome delete_unwanted(const std::vector<ServiceName>& names);
  Outcome keep_in_step(const Names& dirty);
  Outcome send_changes(const Names& dirty);
  Outcome send(const Names& dirty);
  WantedService wanted_now(const ServiceName& name);
  void add(const ServiceName& name, Batch& batch);
  Outcome write(Batch batch);
  void drop(Batch& batch, const std::vector<std::size_t>& places, const client::Error& error);
  bool forget_refusal(const ServiceName& name);
  void settle(const Batch& batch, bool all);
  std::optional<client::Error> apply(v1::ApplyRequest& request);
  bool is_as_left();
  Outcome retry_refused();
  void note_another(std::uint64_t revision);
  bool drop_gone(Batch& batch, const client::Error& error);
  void tell_reports();
  void ask_announces();

  const SenderSettings settings_;
  const Wanted wanted_;
  const Report report_;
  GatewayLink link_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Names dirty_;
  std::chrono::steady_clock::time_point dirty_since_{};  // the first of them
  bool told_ = false;                                    // since the sender has last looked
  bool stop_ = false;
  bool busy_ = false;  // what was dirty is on its way
  Counts counts_;

  // The sender's thread alone.
  GatewayRouting routing_;                                   // routes() apart
  std::shared_ptr<const GatewayRoutes> routes_;              // that services were translated for
  absl::flat_hash_map<ServiceName, std::uint64_t> has_;      // the gateway, by fingerprint
  absl::flat_hash_map<ServiceName, std::uint64_t> refused_;  // likewise
  std::optional<std::uint64_t> revision_;                    // of the provider there; none: ask
  bool in_step_ = false;
  std::chrono::steady_clock::time_point in_step_since_{};
  std::chrono::steady_clock::time_point changed_at_{};  // the first of what is being sent
  std::chrono::steady_clock::time_point polled_{};
  std::chrono::steady_clock::time_point retry_at_{};  // what is refused
  std::chrono::milliseconds lost_pause_{0};
  // When all is sent again because another has written; none: nobody has.
  std::optional<std::chrono::steady_clock::time_point> compare_at_;
  std::chrono::milliseconds compare_pause_{0};
  std::chrono::steady_clock::time_point another_wrote_{};  // when that was found out last
  int full_tries_ = 0;                                     // left in this turn
  ServiceReports reports_;
  bool takes_reports_ = true;  // false: the gateway is too old
  std::chrono::steady_clock::time_point report_at_{};
  std::string said_of_reports_;
  std::thread thread_;
};

}  // namespace sluice::kubernetes
