// SPDX-License-Identifier: Apache-2.0
// What is known of the cluster: the three kinds of objects a gateway depends on, joined by service.
#pragma once

#include "controlplane/kubernetes/decode.h"
#include "controlplane/kubernetes/reflector.h"
#include "controlplane/kubernetes/translate.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// One service as it is now; the parts are immutable.
struct ServiceView {
  std::shared_ptr<const Service> service;  // null: there is none
  Slices slices;
};

// Its sinks are written by a reflector each; the rest may be called from any thread.
class ClusterState {
 public:
  // Told of each service whose objects have changed, and of nothing when a list has ended; from a
  // sink's thread, without the lock held.
  using Changed = std::function<void(const std::vector<ServiceName>&)>;
  explicit ClusterState(Changed changed);

  [[nodiscard]] ObjectSink& services() { return services_; }
  [[nodiscard]] ObjectSink& slices() { return slices_; }
  [[nodiscard]] ObjectSink& nodes() { return nodes_; }

  // All three kinds have been listed: there was no half view before (KUBERNETES.md 2.9).
  [[nodiscard]] bool is_synced() const;
  // Whether the services come from a list that began at `since` or later, and what followed it: a
  // watch can be silent for long. If not, they are listed anew.
  bool are_services_listed_since(std::chrono::steady_clock::time_point since);
  [[nodiscard]] ServiceView view(const ServiceName& name) const;
  [[nodiscard]] std::shared_ptr<const Nodes> all_nodes() const;
  [[nodiscard]] std::vector<ServiceName> service_names() const;
  // Objects that could not be read since the start; their last good form is used.
  [[nodiscard]] std::uint64_t undecodable() const { return undecodable_; }

 private:
  using Clock = std::chrono::steady_clock;
  template <typename Object>
  struct Held {
    std::shared_ptr<const Object> object;
    std::uint64_t listed = 0;  // the list that had it, or in which it was seen since
  };

  // The part that the three kinds have in common.
  class Sink : public ObjectSink {
   public:
    explicit Sink(ClusterState& state) : state_(state) {}
    void begin_list() override;
    [[nodiscard]] const std::atomic<bool>& wants_list() const override { return wants_list_; }
    [[nodiscard]] bool is_synced() const { return synced_; }
    bool is_listed_since(Clock::time_point since);

   protected:
    void ended();  // a list
    void tell(std::vector<ServiceName> changed);
    void report(const char* kind, std::string_view json);

    ClusterState& state_;
    Decoder decoder_;
    std::uint64_t list_ = 0;
    std::atomic<bool> synced_{false};
    std::atomic<bool> wants_list_{false};
    // Under the state's lock: when the list that is under way began, and the last whole one.
    Clock::time_point begun_{};
    Clock::time_point listed_{};
  };
  class ServiceSink final : public Sink {
   public:
    using Sink::Sink;
    void end_list() override;
    void take(std::string_view json) override;
    void remove(std::string_view json) override;
  };
  class SliceSink final : public Sink {
   public:
    using Sink::Sink;
    void end_list() override;
    void take(std::string_view json) override;
    void remove(std::string_view json) override;

   private:
    void unlink(const EndpointSlice& slice);
    Names names_;
  };
  class NodeSink final : public Sink {
   public:
    using Sink::Sink;
    void end_list() override;
    void take(std::string_view json) override;
    void remove(std::string_view json) override;

    void begin_list() override;

   private:
    void publish();
    Nodes present_;
    bool listing_ = false;  // what changes is published when it ends
    absl::flat_hash_set<std::string> seen_;
  };

  Changed changed_;
  mutable std::mutex mutex_;
  absl::flat_hash_map<ServiceName, Held<Service>> service_;
  absl::flat_hash_map<ServiceName, Held<EndpointSlice>> slice_;
  absl::flat_hash_map<ServiceName, Slices> slices_of_;
  std::shared_ptr<const Nodes> node_ = std::make_shared<Nodes>();
  std::atomic<std::uint64_t> undecodable_{0};
  ServiceSink services_{*this};
  SliceSink slices_{*this};
  NodeSink nodes_{*this};
};

}  // namespace sluice::kubernetes
