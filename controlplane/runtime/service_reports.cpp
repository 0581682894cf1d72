// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/service_reports.h"

namespace sluice::runtime {

model::Result<std::size_t> ServiceReports::take(const std::string& provider,
                                                std::vector<ServiceReport> reports, bool replace) {
  const std::lock_guard lock(mutex_);
  const auto first = reports_.lower_bound({provider, {}});
  auto last = first;
  std::size_t before = 0;  // of this provider
  while (replace && last != reports_.end() && last->first.first == provider) {
    ++last;
    ++before;
  }
  if (reports_.size() - before + reports.size() > kReportsMax) {
    return model::Error{.code = model::Code::kResourceExhausted,
                        .message = "more than " + std::to_string(kReportsMax) +
                                   " services could have a report then; report fewer"};
  }
  reports_.erase(first, last);
  for (ServiceReport& report : reports) {
    Key key{provider, report.name};
    if (report.reason.empty()) {
      reports_.erase(key);
    } else {
      reports_.insert_or_assign(std::move(key), std::move(report));
    }
  }
  return reports_.size();
}

std::map<ServiceReports::Key, ServiceReport> ServiceReports::of(const std::string& provider,
                                                                const std::string& space) const {
  const std::lock_guard lock(mutex_);
  std::map<Key, ServiceReport> some;
  for (const auto& [key, report] : reports_) {
    if ((provider.empty() || key.first == provider) &&
        (space.empty() || key.second.space == space)) {
      some.emplace(key, report);
    }
  }
  return some;
}

}  // namespace sluice::runtime
