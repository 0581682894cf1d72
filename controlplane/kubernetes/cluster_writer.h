// SPDX-License-Identifier: Apache-2.0
// What the adapter writes to the cluster: a service's finalizer, its status, and events. Everything
// else of an object is left as it is (KUBERNETES.md 1.25 to 1.29).
#pragma once

#include "controlplane/kubernetes/event_writer.h"
#include "controlplane/kubernetes/http.h"
#include "controlplane/kubernetes/objects.h"
#include "controlplane/kubernetes/translate.h"

#include <absl/container/flat_hash_map.h>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// The name that cloud providers' controllers use too, hence kProviderAnnotation.
inline constexpr const char* kFinalizer = "service.kubernetes.io/load-balancer-cleanup";

struct WriterSettings {
  std::string provider;
  std::string identity;  // reportingInstance of events
};

// As of KUBERNETES.md 2.5: condition of a service with ports that are not served.
inline constexpr const char* kPortsErrorCondition = "LoadBalancerPortsError";

// What the status of a LoadBalancer is to say.
struct WantedStatus {
  std::vector<IpAddress> vips{};
  std::string ip_mode = "VIP";
  std::vector<PortError> errors{};
};

// For one thread.
class ClusterWriter {
 public:
  // `may_write` is asked before each request that changes an object; events are no such.
  ClusterWriter(WriterSettings settings, const ClusterAccess& access, Credentials& credentials,
                std::function<bool()> may_write, const std::atomic<bool>& stop)
      : settings_(std::move(settings)),
        may_write_(std::move(may_write)),
        http_(access, credentials, stop),
        event_http_(access, credentials, stop),
        events_([this](const HttpRequest& request) { return event_http_.send(request); }) {}

  enum class Written {
    kDone,        // or there is nothing left to write to
    kStale,       // the object has changed since it was read: read, and decide again
    kFailed,      // it is refused for what it is
    kRefusedNow,  // nobody answers, or nothing may be written now
    kMayNot,      // others may: it was not asked for
  };
  Written mark(const Service& service);
  // Takes the mark away. A service that is being deleted goes with it.
  Written unmark(const Service& service);
  Written set_status(const Service& service, const WantedStatus& wanted);
  // The annotation kAssignedIpsAnnotation; without addresses it goes.
  Written set_assigned(const Service& service, const std::vector<IpAddress>& vips);
  // Does not wait for it.
  void tell(const Service& service, const std::string& type, const Finding& finding);
  void forget(const ServiceName& name) { kept_.erase(name); }

  // What the server asked for with the last kRefusedNow.
  [[nodiscard]] std::chrono::milliseconds retry_after() const { return retry_after_; }
  [[nodiscard]] static bool is_marked(const Service& service, const std::string& provider);
  [[nodiscard]] static bool has_status(const Service& service, const WantedStatus& wanted);
  // What set_status() sends.
  [[nodiscard]] static std::string status_patch(const Service& service, const WantedStatus& wanted);
  // It has it, or as much of it as this API server keeps: an older one drops fields that it does
  // not know, and would be written to for ever.
  [[nodiscard]] bool is_settled(const Service& service, const WantedStatus& wanted) const;

 private:
  // What was written last, and the version that the server made of it.
  struct Kept {
    std::string status;
    std::string uid;
    std::string resource_version;
  };
  Written patch(const Service& service, const std::string& sub, const std::string& body,
                std::string* answer = nullptr);

  const WriterSettings settings_;
  const std::function<bool()> may_write_;
  HttpClient http_;
  HttpClient event_http_;  // of the thread of events_
  EventWriter events_;
  absl::flat_hash_map<ServiceName, Kept> kept_;
  std::chrono::milliseconds retry_after_{0};
};

}  // namespace sluice::kubernetes
