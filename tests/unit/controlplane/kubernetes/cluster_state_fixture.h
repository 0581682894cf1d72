// SPDX-License-Identifier: Apache-2.0
// Objects as the API server writes them, and a state that remembers whom it told.
#pragma once

#include "controlplane/kubernetes/cluster_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace sluice::kubernetes {

inline std::string meta(const std::string& name, const std::string& rest = "") {
  return R"("metadata":{"namespace":"shop","name":")" + name + "\"" + rest + "}";
}

// Its type says which form it is.
inline std::string service_json(const std::string& name, const std::string& version,
                                const std::string& type = "ClusterIP",
                                const std::string& uid = "u1") {
  return "{" + meta(name, R"(,"uid":")" + uid + R"(","resourceVersion":")" + version + "\"") +
         R"(,"spec":{"type":")" + type + R"(","clusterIP":"10.96.0.1"}})";
}
inline std::string bad_service_json(const std::string& name) {
  return "{" + meta(name) + R"(,"spec":{"ports":"all"}})";
}

inline std::string slice_json(const std::string& name, const std::string& service,
                              const std::string& address, const std::string& more_labels = "") {
  return "{" +
         meta(name, R"(,"labels":{)" +
                        (service.empty() ? R"("a":"b")"
                                         : R"("kubernetes.io/service-name":")" + service + "\"") +
                        more_labels + "}") +
         R"(,"addressType":"IPv4","ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":[")" +
         address + R"("]}]})";
}
inline std::string bad_slice_json(const std::string& name) {
  return "{" + meta(name, R"(,"labels":{"kubernetes.io/service-name":"web"})") +
         R"(,"endpoints":{"addresses":"10.0.0.1"}})";
}

inline std::string node_json(const std::string& name, const std::string& address,
                             const std::string& spec = "", const std::string& more_meta = "") {
  return R"({"metadata":{"name":")" + name + R"(","resourceVersion":"7")" + more_meta + "}" +
         (spec.empty() ? "" : R"(,"spec":{)" + spec + "}") +
         R"(,"status":{"addresses":[{"type":"ExternalIP","address":"198.51.100.1"},)" +
         R"({"type":"InternalIP","address":")" + address + R"("}]}})";
}

class ClusterStateTest : public ::testing::Test {
 protected:
  ClusterState state_{[this](const std::vector<ServiceName>& names) {
    // Without the lock held: these would wait for it for ever.
    (void)state_.service_names();
    (void)state_.all_nodes();
    (void)state_.is_synced();
    ++calls_;
    for (const ServiceName& name : names) {
      told_.push_back(name.name);
    }
  }};
  int calls_ = 0;
  std::vector<std::string> told_;

  // What the callback has named since the last time, sorted.
  std::string told() {
    std::sort(told_.begin(), told_.end());
    std::string text;
    for (const std::string& name : told_) {
      text += (text.empty() ? "" : " ") + name;
    }
    told_.clear();
    return text;
  }
  static void list(ObjectSink& sink, const std::vector<std::string>& objects) {
    sink.begin_list();
    for (const std::string& json : objects) {
      sink.take(json);
    }
    sink.end_list();
  }
  [[nodiscard]] std::string type_of(const std::string& name) const {
    const ServiceView view = state_.view({"shop", name});
    return view.service == nullptr ? "none" : view.service->type;
  }
  // Addresses of all slices of a service, sorted.
  [[nodiscard]] std::string addresses_of(const std::string& name) const {
    std::vector<std::string> addresses;
    for (const auto& slice : state_.view({"shop", name}).slices) {
      for (const SliceEndpoint& endpoint : slice->endpoints) {
        addresses.push_back(sluice::to_string(endpoint.address));
      }
    }
    std::sort(addresses.begin(), addresses.end());
    std::string text;
    for (const std::string& address : addresses) {
      text += (text.empty() ? "" : " ") + address;
    }
    return text;
  }
  [[nodiscard]] std::string nodes() const {
    std::map<std::string, std::string> sorted;
    const auto all = state_.all_nodes();
    for (const auto& [name, node] : *all) {
      for (const IpAddress& address : node.internal_ips) {
        sorted[name] += "=" + sluice::to_string(address);
      }
    }
    std::string text;
    for (const auto& [name, addresses] : sorted) {
      text += (text.empty() ? "" : " ") + name + addresses;
    }
    return text;
  }
};

}  // namespace sluice::kubernetes
