// SPDX-License-Identifier: Apache-2.0
// What the doctor asks the API server.
#include "controlplane/kubernetes/cluster_writer.h"
#include "controlplane/kubernetes/doctor.h"
#include "controlplane/kubernetes/http.h"

#include <absl/time/time.h>
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace sluice::kubernetes {
namespace {

using Json = nlohmann::json;

struct Right {
  const char* verb;
  const char* group;  // empty: core
  const char* resource;
  const char* subresource;
  bool in_lease_namespace = false;
};

// deploy/kubernetes/base/rbac.yaml grants these; a test holds the two together.
constexpr std::array<Right, 15> kNeeded{{
    {"get", "", "services", ""},
    {"list", "", "services", ""},
    {"watch", "", "services", ""},
    {"patch", "", "services", ""},
    {"patch", "", "services", "status"},
    {"get", "", "nodes", ""},
    {"list", "", "nodes", ""},
    {"watch", "", "nodes", ""},
    {"get", "discovery.k8s.io", "endpointslices", ""},
    {"list", "discovery.k8s.io", "endpointslices", ""},
    {"watch", "discovery.k8s.io", "endpointslices", ""},
    {"create", "events.k8s.io", "events", ""},
    {"get", "coordination.k8s.io", "leases", "", true},
    {"create", "coordination.k8s.io", "leases", "", true},
    {"update", "coordination.k8s.io", "leases", "", true},
}};
// What nobody should have who only needs those.
constexpr Right kTooMuch{"list", "", "secrets", ""};

std::string name_of(const Right& right) {
  std::string name = std::string(right.verb) + " " + right.resource;
  if (*right.subresource != '\0') {
    name += "/" + std::string(right.subresource);
  }
  return *right.group == '\0' ? name : name + " (" + right.group + ")";
}

std::string words_of(const HttpResponse& response) {
  if (!response.fault.empty()) {
    return response.fault;
  }
  const Json status = Json::parse(response.body, nullptr, false);
  const bool says =
      status.is_object() && status.contains("message") && status["message"].is_string();
  return std::to_string(response.status) +
         (says ? " " + status["message"].get<std::string>() : std::string());
}

// Nothing: the server does not say, and `why_not` does.
std::optional<bool> is_allowed(HttpClient& http, const Right& right, const std::string& space,
                               std::string& why_not) {
  const Json review{{"apiVersion", "authorization.k8s.io/v1"},
                    {"kind", "SelfSubjectAccessReview"},
                    {"spec",
                     {{"resourceAttributes",
                       {{"verb", right.verb},
                        {"group", right.group},
                        {"resource", right.resource},
                        {"subresource", right.subresource},
                        {"namespace", right.in_lease_namespace ? space : std::string()}}}}}};
  const HttpResponse response =
      http.send({.method = "POST",
                 .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                 .body = review.dump(),
                 .content_type = "application/json",
                 .silence_max = std::chrono::milliseconds(5'000)});
  const Json answer = Json::parse(response.body, nullptr, false);
  if (!response.is_ok() || !answer.is_object() || !answer.contains("status") ||
      !answer["status"].is_object()) {
    why_not = words_of(response);
    return std::nullopt;
  }
  return answer["status"].value("allowed", Json()) == true;  // null is no leave either
}

void examine_rights(HttpClient& http, const std::string& space, Report& report) {
  std::size_t allowed = 0;
  std::string why_not;
  for (const Right& right : kNeeded) {
    const auto may = is_allowed(http, right, space, why_not);
    if (!may) {
      report.warning("whether the credentials suffice is not known: " + why_not);
      return;
    }
    if (*may) {
      ++allowed;
    } else {
      report.fault("the credentials may not " + name_of(right) +
                   (right.in_lease_namespace ? " in namespace " + space : std::string()) +
                   "; apply deploy/kubernetes/base/rbac.yaml, or grant it");
    }
  }
  if (allowed == kNeeded.size()) {
    report.ok("the credentials may do all that is needed, " + std::to_string(allowed) + " rights");
  }
  if (is_allowed(http, kTooMuch, space, why_not).value_or(false)) {
    report.note(
        "the credentials may do more than is needed (list secrets); a service account of "
        "deploy/kubernetes/base/rbac.yaml may not");
  }
}

// A Lease whose holder is gone has its name until another takes it. Empty: it is renewed, or does
// not say.
std::string not_renewed_since(const Json& spec) {
  const Json renewed = spec.value("renewTime", Json(""));
  const Json seconds = spec.value("leaseDurationSeconds", Json(0));
  absl::Time time;
  if (!renewed.is_string() || !seconds.is_number_integer() ||
      !absl::ParseTime(absl::RFC3339_full, renewed.get<std::string>(), &time, nullptr)) {
    return {};
  }
  const bool is_over = absl::Now() - time > 2 * absl::Seconds(seconds.get<std::int64_t>());
  return is_over ? renewed.get<std::string>() : std::string();
}

void examine_lease(HttpClient& http, const Settings& settings, const std::string& space,
                   Report& report) {
  const std::string name = lease_name_of(settings);
  const HttpResponse response =
      http.send({.path = "/apis/coordination.k8s.io/v1/namespaces/" + space + "/leases/" + name,
                 .silence_max = std::chrono::milliseconds(5'000)});
  if (response.status == 404) {
    report.note("no adapter has run yet: there is no Lease " + space + "/" + name);
    return;
  }
  const Json lease = Json::parse(response.body, nullptr, false);
  if (!response.is_ok() || !lease.is_object()) {
    report.warning("Lease " + space + "/" + name + ": " + words_of(response));
    return;
  }
  const Json spec = lease.value("spec", Json::object());
  const Json holder = spec.is_object() ? spec.value("holderIdentity", Json("")) : Json("");
  const std::string who = holder.is_string() ? holder.get<std::string>() : std::string();
  if (who.empty()) {
    report.note("no adapter writes to the cluster at present");
  } else if (const std::string since = not_renewed_since(spec); !since.empty()) {
    report.warning("no adapter writes to the cluster: " + who +
                   " was the last, and has not renewed its Lease since " + since +
                   ", by this machine's clock; is it running?");
  } else {
    report.note("the adapter that writes to the cluster is " + who);
  }
}

// Who else has a hand on a service that would be ours; empty: nobody.
std::string other_claim(const Service& service, const Settings& settings) {
  const std::string provider = annotation_of(service, kProviderAnnotation);
  if (!provider.empty() && provider != settings.provider) {
    return "provider " + provider + " of another sluice-k8s has it";
  }
  const bool is_marked = ClusterWriter::is_marked(service, settings.provider);
  if (!is_marked && !service.load_balancer_class && !service.ingress.empty()) {
    return "another implementation has given it " + service.ingress[0].ip +
           "; set its loadBalancerClass, or turn default_class off";
  }
  return {};
}

}  // namespace

bool examine_access(const Settings& settings, const ClusterAccess& access, Credentials& credentials,
                    Report& report) {
  HttpClient http(access, credentials, kNeverStops);
  const HttpResponse response =
      http.send({.path = "/version", .silence_max = std::chrono::milliseconds(5'000)});
  const Json version = Json::parse(response.body, nullptr, false);
  if (response.status == 0) {
    report.fault("the API server does not answer: " + response.fault);
    return false;
  }
  if (response.status == 401) {
    report.fault("the API server does not accept the credentials: " + words_of(response));
    return false;
  }
  report.ok("the API server answers" + (version.is_object() && version.contains("gitVersion") &&
                                                version["gitVersion"].is_string()
                                            ? ", " + version["gitVersion"].get<std::string>()
                                            : std::string()));
  const std::string space = lease_namespace_of(settings, access);
  examine_rights(http, space, report);
  examine_lease(http, settings, space, report);
  return true;
}

void examine_claims(const Settings& settings, const ClusterState& state, Report& report) {
  std::size_t ours = 0;
  std::size_t served = 0;
  std::size_t claimed = 0;
  for (const ServiceName& name : state.service_names()) {
    const auto service = state.view(name).service;
    const Claim claim =
        service == nullptr ? Claim::kNotOurs : claim_of(*service, settings.translate);
    served += claim == Claim::kServed ? 1 : 0;
    if (claim != Claim::kOurs) {
      continue;
    }
    ++ours;
    if (const std::string other = other_claim(*service, settings); !other.empty()) {
      ++claimed;
      report.fault("service " + to_string(name) + ": " + other);
    }
  }
  report.note(std::to_string(ours) + " services are this gateway's to give addresses, " +
              std::to_string(served) + " more can be served");
  if (ours == 0) {
    report.note(
        "a LoadBalancer service is, with loadBalancerClass: " + std::string(kLoadBalancerClass) +
        (settings.translate.default_class ? " or none" : ""));
  }
  if (ours != 0 && claimed == 0) {
    report.ok("nobody else claims them");
  }
}

}  // namespace sluice::kubernetes
