// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/service_reports.h"

#include "controlplane/kubernetes/shortened.h"

#include <utility>

namespace sluice::kubernetes {
namespace {

void append(std::string& text, const std::string& more) {
  text += (text.empty() || more.empty() ? "" : "; ") + more;
}

}  // namespace

void ServiceReports::translated(const model::ServiceName& name, const std::string& why_not,
                                const std::vector<Finding>& findings) {
  const auto at = reports_.find(name);
  if (why_not.empty() && findings.empty() && at == reports_.end()) {
    return;  // as of nearly all
  }
  Report report;
  if (!why_not.empty()) {
    report.reason = "NotServed";
    report.message = why_not;
  } else if (!findings.empty()) {
    report.reason = findings.front().reason;
  }
  for (const Finding& finding : findings) {
    append(report.message, finding.message);
  }
  report.refusal = at == reports_.end() ? "" : at->second.refusal;
  store(name, std::move(report));
}

void ServiceReports::refused(const model::ServiceName& name, const std::string& why) {
  const auto at = reports_.find(name);
  if (at == reports_.end() && why.empty()) {
    return;
  }
  Report report = at == reports_.end() ? Report{} : at->second;
  report.refusal = why;
  store(name, std::move(report));
}

void ServiceReports::store(const model::ServiceName& name, Report report) {
  const auto at = reports_.find(name);
  v1::ServiceReport before;
  v1::ServiceReport after;
  if (at != reports_.end()) {
    write(at->second, before);
  }
  write(report, after);
  if (before.reason() != after.reason() || before.message() != after.message()) {
    untold_.insert(name);
  }
  if (report.empty()) {
    reports_.erase(name);
  } else {
    reports_[name] = std::move(report);
  }
}

void ServiceReports::write(const Report& report, v1::ServiceReport& message) {
  std::string text = report.refusal;
  append(text, report.message);
  message.set_reason(
      shortened(report.refusal.empty() ? report.reason : "GatewayRefused", kReportReasonMax));
  message.set_message(shortened(std::move(text), kReportMessageMax));
}

void ServiceReports::start_over() {
  reports_.clear();
  untold_.clear();
  replace_ = true;
}

std::optional<v1::ReportServicesRequest> ServiceReports::next() const {
  if (untold_.empty() && !replace_) {
    return std::nullopt;
  }
  v1::ReportServicesRequest request;
  request.set_replace(replace_);
  for (const model::ServiceName& name : untold_) {
    if (request.reports_size() == static_cast<int>(kReportsMax)) {
      break;
    }
    v1::ServiceReport& message = *request.add_reports();
    message.mutable_name()->set_namespace_(name.space);
    message.mutable_name()->set_name(name.name);
    if (const auto at = reports_.find(name); at != reports_.end()) {
      write(at->second, message);
    }
  }
  return request;
}

void ServiceReports::told(const v1::ReportServicesRequest& request) {
  replace_ = false;
  for (const v1::ServiceReport& report : request.reports()) {
    untold_.erase({report.name().namespace_(), report.name().name()});
  }
}

}  // namespace sluice::kubernetes
