// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/cluster_state.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <tuple>

namespace sluice::kubernetes {
namespace {

ServiceName service_of(const EndpointSlice& slice) {
  return {slice.name.space, slice.service};
}

// Whether anything that is read of it differs; a node's heartbeats change the rest.
bool are_alike(const Node& one, const Node& other) {
  return std::tie(one.meta.labels, one.meta.deleting, one.internal_ips, one.external_ips,
                  one.pod_cidrs, one.to_be_deleted) ==
         std::tie(other.meta.labels, other.meta.deleting, other.internal_ips, other.external_ips,
                  other.pod_cidrs, other.to_be_deleted);
}

}  // namespace

ClusterState::ClusterState(Changed changed) : changed_(std::move(changed)) {}

bool ClusterState::is_synced() const {
  return services_.is_synced() && slices_.is_synced() && nodes_.is_synced();
}

ServiceView ClusterState::view(const ServiceName& name) const {
  const std::lock_guard lock(mutex_);
  const auto service = service_.find(name);
  if (service == service_.end()) {
    return {};
  }
  const auto slices = slices_of_.find(name);
  return {service->second.object, slices == slices_of_.end() ? Slices{} : slices->second};
}

std::shared_ptr<const Nodes> ClusterState::all_nodes() const {
  const std::lock_guard lock(mutex_);
  return node_;
}

std::vector<ServiceName> ClusterState::service_names() const {
  const std::lock_guard lock(mutex_);
  std::vector<ServiceName> names;
  names.reserve(service_.size());
  for (const auto& [name, held] : service_) {
    names.push_back(name);
  }
  return names;
}

bool ClusterState::are_services_listed_since(std::chrono::steady_clock::time_point since) {
  return services_.is_listed_since(since);
}

bool ClusterState::Sink::is_listed_since(Clock::time_point since) {
  const std::lock_guard lock(state_.mutex_);
  wants_list_ = listed_ < since && begun_ < since;  // else it is under way
  return listed_ >= since;
}

void ClusterState::Sink::begin_list() {
  ++list_;
  const std::lock_guard lock(state_.mutex_);
  wants_list_ = false;
  begun_ = Clock::now();
}

void ClusterState::Sink::ended() {
  synced_ = true;
  const std::lock_guard lock(state_.mutex_);
  listed_ = begun_;
}

void ClusterState::Sink::tell(std::vector<ServiceName> changed) {
  if (!changed.empty()) {
    state_.changed_(changed);
  }
}

void ClusterState::Sink::report(const char* kind, std::string_view json) {
  const std::string fault = decoder_.fault();
  ++state_.undecodable_;
  spdlog::warn("{} {} cannot be read: {}; its last good form is used", kind,
               to_string(decoder_.name(json)), fault);
}

void ClusterState::ServiceSink::take(std::string_view json) {
  auto read = decoder_.service(json);
  if (!read) {
    report("service", json);
    const std::lock_guard lock(state_.mutex_);
    const auto at = state_.service_.find(decoder_.name(json));
    if (at != state_.service_.end()) {
      at->second.listed = list_;  // it is there, whatever it says
    }
    return;
  }
  const ServiceName name = read->meta.name;
  {
    const std::lock_guard lock(state_.mutex_);
    Held<Service>& held = state_.service_[name];
    held.listed = list_;
    if (held.object != nullptr && held.object->meta.uid == read->meta.uid &&
        held.object->meta.resource_version == read->meta.resource_version) {
      return;  // seen before
    }
    held.object = std::make_shared<const Service>(std::move(*read));
  }
  tell({name});
}

void ClusterState::ServiceSink::remove(std::string_view json) {
  const ServiceName name = decoder_.name(json);
  {
    const std::lock_guard lock(state_.mutex_);
    if (state_.service_.erase(name) == 0) {
      return;
    }
  }
  tell({name});
}

void ClusterState::ServiceSink::end_list() {
  std::vector<ServiceName> gone;
  {
    const std::lock_guard lock(state_.mutex_);
    for (const auto& [name, held] : state_.service_) {
      if (held.listed != list_) {
        gone.push_back(name);
      }
    }
    for (const ServiceName& name : gone) {
      state_.service_.erase(name);
    }
  }
  ended();
  state_.changed_(gone);
}

// The lock is held.
void ClusterState::SliceSink::unlink(const EndpointSlice& slice) {
  const auto at = state_.slices_of_.find(service_of(slice));
  if (at == state_.slices_of_.end()) {
    return;
  }
  std::erase_if(at->second, [&](const auto& each) { return each.get() == &slice; });
  if (at->second.empty()) {
    state_.slices_of_.erase(at);
  }
}

void ClusterState::SliceSink::take(std::string_view json) {
  auto read = decoder_.slice(json, names_);
  if (!read) {
    report("endpoint slice", json);
    const std::lock_guard lock(state_.mutex_);
    const auto at = state_.slice_.find(decoder_.name(json));
    if (at != state_.slice_.end()) {
      at->second.listed = list_;
    }
    return;
  }
  if (read->headless || read->service.empty()) {
    remove(json);  // it may have been another before
    return;
  }
  read->endpoints.shrink_to_fit();
  std::vector<ServiceName> changed{service_of(*read)};
  {
    const std::lock_guard lock(state_.mutex_);
    Held<EndpointSlice>& held = state_.slice_[read->name];
    held.listed = list_;
    if (held.object != nullptr) {
      if (service_of(*held.object) != changed[0]) {
        changed.push_back(service_of(*held.object));
      }
      unlink(*held.object);
    }
    held.object = std::make_shared<const EndpointSlice>(std::move(*read));
    state_.slices_of_[changed[0]].push_back(held.object);
  }
  tell(std::move(changed));
}

void ClusterState::SliceSink::remove(std::string_view json) {
  const ServiceName name = decoder_.name(json);
  std::vector<ServiceName> changed;
  {
    const std::lock_guard lock(state_.mutex_);
    const auto at = state_.slice_.find(name);
    if (at == state_.slice_.end()) {
      return;
    }
    changed.push_back(service_of(*at->second.object));
    unlink(*at->second.object);
    state_.slice_.erase(at);
  }
  tell(std::move(changed));
}

void ClusterState::SliceSink::end_list() {
  std::vector<ServiceName> changed;
  {
    const std::lock_guard lock(state_.mutex_);
    std::vector<ServiceName> gone;
    for (const auto& [name, held] : state_.slice_) {
      if (held.listed != list_) {
        gone.push_back(name);
        changed.push_back(service_of(*held.object));
      }
    }
    for (const ServiceName& name : gone) {
      const auto at = state_.slice_.find(name);
      unlink(*at->second.object);
      state_.slice_.erase(at);
    }
  }
  ended();
  state_.changed_(changed);
}

// Any service may depend on any node.
void ClusterState::NodeSink::publish() {
  auto published = std::make_shared<const Nodes>(present_);
  {
    const std::lock_guard lock(state_.mutex_);
    state_.node_ = std::move(published);
  }
  tell(state_.service_names());
}

void ClusterState::NodeSink::begin_list() {
  Sink::begin_list();
  listing_ = true;
  seen_.clear();
}

void ClusterState::NodeSink::take(std::string_view json) {
  auto read = decoder_.node(json);
  if (!read) {
    report("node", json);
    seen_.insert(decoder_.name(json).name);
    return;
  }
  const std::string name = read->meta.name.name;
  seen_.insert(name);
  const auto at = present_.find(name);
  if (at != present_.end() && are_alike(at->second, *read)) {
    return;
  }
  present_[name] = std::move(*read);
  if (!listing_) {
    publish();
  }
}

void ClusterState::NodeSink::remove(std::string_view json) {
  if (present_.erase(decoder_.name(json).name) != 0 && !listing_) {
    publish();
  }
}

void ClusterState::NodeSink::end_list() {
  std::erase_if(present_, [this](const auto& item) { return !seen_.contains(item.first); });
  listing_ = false;
  publish();
  ended();
  state_.changed_({});
}

}  // namespace sluice::kubernetes
