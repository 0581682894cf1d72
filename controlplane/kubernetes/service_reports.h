// SPDX-License-Identifier: Apache-2.0
// What a gateway's people should know of the cluster's services: why one is not served, and what of
// it is not as it says. Kept by the gateway until it stops; pure bookkeeping of what it was told.
#pragma once

#include "controlplane/kubernetes/translate.h"
#include "controlplane/model/service.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "sluice/v1/gateway.pb.h"

namespace sluice::kubernetes {

inline constexpr std::size_t kReportsMax = 2'000;  // in one request
inline constexpr std::size_t kReportReasonMax = 128;
inline constexpr std::size_t kReportMessageMax = 1'024;

class ServiceReports {
 public:
  // What translation says. `why_not`: empty unless the service is ours and not to be served.
  void translated(const model::ServiceName& name, const std::string& why_not,
                  const std::vector<Finding>& findings);
  // What the gateway says; empty: it refuses it no more.
  void refused(const model::ServiceName& name, const std::string& why);

  // The gateway may have none, or others: all that is said from now on is sent, and replaces them.
  void start_over();
  // What the gateway is to be told next, without a provider; nothing: it knows all of it.
  [[nodiscard]] std::optional<v1::ReportServicesRequest> next() const;
  // It has been, and nothing else was said in between.
  void told(const v1::ReportServicesRequest& request);

 private:
  struct Report {
    std::string reason;
    std::string message;
    std::string refusal;
    [[nodiscard]] bool empty() const { return reason.empty() && refusal.empty(); }
  };
  void store(const model::ServiceName& name, Report report);
  static void write(const Report& report, v1::ServiceReport& message);

  absl::flat_hash_map<model::ServiceName, Report> reports_;  // those that say something
  absl::flat_hash_set<model::ServiceName> untold_;
  bool replace_ = true;
};

}  // namespace sluice::kubernetes
