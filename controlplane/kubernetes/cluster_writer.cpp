// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/cluster_writer.h"

#include "controlplane/kubernetes/addresses.h"
#include "controlplane/kubernetes/shortened.h"

#include <spdlog/spdlog.h>

#include <absl/hash/hash.h>
#include <absl/strings/str_format.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice::kubernetes {
namespace {

using Json = nlohmann::json;

constexpr const char* kMergePatch = "application/merge-patch+json";
constexpr std::size_t kNoteBytesMax = 1024;  // of an Event

std::string path_of(const ServiceName& name) {
  return "/api/v1/namespaces/" + name.space + "/services/" + name.name;
}

Json port_errors_of(const std::vector<PortError>& errors) {
  Json list = Json::array();
  for (const PortError& error : errors) {
    list.push_back({{"port", error.port}, {"protocol", error.protocol}, {"error", error.error}});
  }
  return list;
}

// Of the errors, the one that Kubernetes has a name for, if it is among them.
std::string reason_of(const std::vector<PortError>& errors) {
  constexpr const char* kMixed = "LoadBalancerMixedProtocolNotSupported";
  const bool is_mixed = std::any_of(errors.begin(), errors.end(),
                                    [&](const PortError& error) { return error.error == kMixed; });
  return is_mixed ? kMixed : errors.front().error;
}

std::string message_of(const std::vector<PortError>& errors) {
  std::string message;
  for (const PortError& error : errors) {
    message += (message.empty() ? "" : ", ") + std::to_string(error.port) + "/" + error.protocol +
               ": " + error.error;
  }
  return message;
}

const StatusCondition* condition_of(const Service& service) {
  const auto at =
      std::find_if(service.conditions.begin(), service.conditions.end(),
                   [](const StatusCondition& each) { return each.type == kPortsErrorCondition; });
  return at == service.conditions.end() ? nullptr : &*at;
}

bool has_condition(const Service& service, const std::vector<PortError>& errors) {
  const StatusCondition* had = condition_of(service);
  const bool is_true = had != nullptr && had->status == "True";
  if (errors.empty()) {
    return !is_true;
  }
  return is_true && had->reason == reason_of(errors) && had->message == message_of(errors);
}

// A merge patch replaces the list, so the others go into it as they are (1.27).
Json conditions_of(const Service& service, const std::vector<PortError>& errors) {
  Json list = Json::array();
  for (const StatusCondition& each : service.conditions) {
    if (each.type != kPortsErrorCondition) {
      list.push_back(Json::parse(each.json, nullptr, false));
    }
  }
  if (!errors.empty()) {
    const StatusCondition* had = condition_of(service);
    const bool lasts = had != nullptr && had->status == "True";
    list.push_back(
        {{"type", kPortsErrorCondition},
         {"status", "True"},
         {"reason", reason_of(errors)},
         {"message", message_of(errors)},
         {"lastTransitionTime",
          lasts ? had->last_transition_time
                : absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone())}});
  }
  return list.empty() ? Json(nullptr) : list;
}

Json balancer_of(const WantedStatus& wanted) {
  Json ingress = Json::array();
  for (const IpAddress& vip : wanted.vips) {
    Json entry{{"ip", sluice::to_string(vip)}, {"ipMode", wanted.ip_mode}};
    if (!wanted.errors.empty()) {
      entry["ports"] = port_errors_of(wanted.errors);
    }
    ingress.push_back(std::move(entry));
  }
  Json balancer = Json::object();
  balancer["ingress"] = wanted.vips.empty() ? Json(nullptr) : std::move(ingress);
  return balancer;
}

// Without what differs from one write to the next.
std::string status_text(const WantedStatus& wanted) {
  return balancer_of(wanted).dump() + message_of(wanted.errors);
}

}  // namespace

// Of another class the mark has been copied with the rest of a manifest, and finalizer and status,
// whose names all implementations share, are that class's (2.1).
bool ClusterWriter::is_marked(const Service& service, const std::string& provider) {
  if (service.type == "LoadBalancer" && service.load_balancer_class &&
      *service.load_balancer_class != kLoadBalancerClass) {
    return false;
  }
  const auto at = service.meta.annotations.find(kProviderAnnotation);
  return at != service.meta.annotations.end() && at->second == provider &&
         std::find(service.meta.finalizers.begin(), service.meta.finalizers.end(), kFinalizer) !=
             service.meta.finalizers.end();
}

// A merge patch replaces the whole list, so the others' finalizers go into it, and the version
// makes sure that they are the present ones (KUBERNETES.md 1.27).
ClusterWriter::Written ClusterWriter::mark(const Service& service) {
  std::vector<std::string> finalizers = service.meta.finalizers;
  if (std::find(finalizers.begin(), finalizers.end(), kFinalizer) == finalizers.end()) {
    finalizers.emplace_back(kFinalizer);
  }
  const Json body{{"metadata",
                   {{"resourceVersion", service.meta.resource_version},
                    {"finalizers", finalizers},
                    {"annotations", {{kProviderAnnotation, settings_.provider}}}}}};
  return patch(service, "", body.dump());
}

ClusterWriter::Written ClusterWriter::unmark(const Service& service) {
  std::vector<std::string> finalizers = service.meta.finalizers;
  std::erase(finalizers, kFinalizer);
  const Json body{{"metadata",
                   {{"resourceVersion", service.meta.resource_version},
                    {"finalizers", finalizers},
                    {"annotations", {{kProviderAnnotation, nullptr}}}}}};
  return patch(service, "", body.dump());
}

std::string ClusterWriter::status_patch(const Service& service, const WantedStatus& wanted) {
  Json status{{"loadBalancer", balancer_of(wanted)}};
  if (!has_condition(service, wanted.errors)) {
    status["conditions"] = conditions_of(service, wanted.errors);
  }
  // Of this very object, as it was read: one of the same name may be somebody else's.
  const Json body{
      {"metadata", {{"uid", service.meta.uid}, {"resourceVersion", service.meta.resource_version}}},
      {"status", std::move(status)}};
  return body.dump();
}

ClusterWriter::Written ClusterWriter::set_status(const Service& service,
                                                 const WantedStatus& wanted) {
  std::string answer;
  const Written written = patch(service, "/status", status_patch(service, wanted), &answer);
  static const Json::json_pointer kVersion("/metadata/resourceVersion");
  const Json made = Json::parse(answer, nullptr, false);
  if (written == Written::kDone && made.contains(kVersion) && made[kVersion].is_string()) {
    kept_[service.meta.name] = {status_text(wanted), service.meta.uid, made[kVersion]};
  }
  return written;
}

ClusterWriter::Written ClusterWriter::set_assigned(const Service& service,
                                                   const std::vector<IpAddress>& vips) {
  const std::string text = assigned_text(vips);
  const Json body{
      {"metadata",
       {{"uid", service.meta.uid},
        {"resourceVersion", service.meta.resource_version},
        {"annotations", {{kAssignedIpsAnnotation, text.empty() ? Json(nullptr) : Json(text)}}}}}};
  return patch(service, "", body.dump());
}

bool ClusterWriter::has_status(const Service& service, const WantedStatus& wanted) {
  std::vector<LoadBalancerIngress> entries;
  for (const IpAddress& vip : wanted.vips) {
    entries.push_back({sluice::to_string(vip), wanted.ip_mode, wanted.errors});
  }
  std::vector<LoadBalancerIngress> had = service.ingress;
  for (LoadBalancerIngress& entry : had) {
    // Servers before 1.29 have no such field, and drop it.
    entry.ip_mode = entry.ip_mode.empty() ? wanted.ip_mode : entry.ip_mode;
  }
  return had == entries && has_condition(service, wanted.errors);
}

bool ClusterWriter::is_settled(const Service& service, const WantedStatus& wanted) const {
  const auto at = kept_.find(service.meta.name);
  return has_status(service, wanted) ||
         (at != kept_.end() && at->second.uid == service.meta.uid &&
          at->second.resource_version == service.meta.resource_version &&
          at->second.status == status_text(wanted));
}

// A 403 for want of the right is for all of them; any other is an admission webhook's, about this
// one. So is a 500 where a webhook cannot be called, which may be one of this namespace alone. The
// words are the API server's own (apiserver, ForbiddenStatusError and ErrCallingWebhook).
ClusterWriter::Written ClusterWriter::patch(const Service& service, const std::string& sub,
                                            const std::string& body, std::string* answer) {
  if (!may_write_()) {
    return Written::kMayNot;
  }
  HttpResponse response = http_.send({.method = "PATCH",
                                      .path = path_of(service.meta.name) + sub,
                                      .body = body,
                                      .content_type = kMergePatch});
  if (response.is_ok() || response.status == 404) {
    if (answer != nullptr && response.is_ok()) {
      *answer = std::move(response.body);
    }
    return Written::kDone;
  }
  if (response.status == 409) {
    return Written::kStale;
  }
  spdlog::warn("service {}: {}", to_string(service.meta.name),
               response.fault.empty() ? std::to_string(response.status) + " " + response.body
                                      : response.fault);
  const bool lacks_right =
      response.status == 403 && response.body.find("cannot patch resource") != std::string::npos;
  const bool is_webhooks =
      response.status == 500 && response.body.find("failed calling webhook") != std::string::npos;
  const bool is_servers = response.status == 0 || response.status == 401 || lacks_right ||
                          response.status == 429 || response.status >= 500 ||
                          !response.fault.empty();
  retry_after_ = response.retry_after.value_or(std::chrono::seconds(0));
  return is_servers && !is_webhooks ? Written::kRefusedNow : Written::kFailed;
}

void ClusterWriter::tell(const Service& service, const std::string& type, const Finding& finding) {
  const absl::Time now = absl::Now();
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", now, absl::UTCTimeZone());
  const ServiceName& name = service.meta.name;
  const Json body{
      {"apiVersion", "events.k8s.io/v1"},
      {"kind", "Event"},
      {"metadata",
       {{"name", absl::StrFormat("%s.%x", name.name,
                                 absl::HashOf(absl::ToUnixNanos(now), finding.message))},
        {"namespace", name.space}}},
      {"eventTime", time},
      {"reportingController", kLoadBalancerClass},
      {"reportingInstance", settings_.identity},
      {"action", "Sync"},
      {"reason", finding.reason},
      {"type", type},
      {"note", shortened(finding.message, kNoteBytesMax)},
      {"regarding",
       {{"apiVersion", "v1"},
        {"kind", "Service"},
        {"namespace", name.space},
        {"name", name.name},
        {"uid", service.meta.uid},
        {"resourceVersion", service.meta.resource_version}}}};
  events_.add({.method = "POST",
               .path = "/apis/events.k8s.io/v1/namespaces/" + name.space + "/events",
               .body = body.dump(-1, ' ', false, Json::error_handler_t::replace),
               .content_type = "application/json",
               .silence_max = std::chrono::milliseconds(5'000)},
              "event " + finding.reason + " about " + to_string(name));
}

}  // namespace sluice::kubernetes
