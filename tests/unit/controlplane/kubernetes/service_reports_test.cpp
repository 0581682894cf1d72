// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/service_reports.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

const model::ServiceName kWeb{"shop", "web"};

// "web=REASON: MESSAGE", or "web" that is cleared; the only one.
std::string text_of(const std::optional<v1::ReportServicesRequest>& request) {
  if (!request || request->reports_size() != 1) {
    return request ? std::to_string(request->reports_size()) + " reports" : "nothing";
  }
  const v1::ServiceReport& report = request->reports(0);
  return report.name().name() +
         (report.reason().empty() ? "" : "=" + report.reason() + ": " + report.message());
}

ServiceReports told_of_nothing() {
  ServiceReports reports;
  const auto request = reports.next();
  EXPECT_TRUE(request && request->replace());
  reports.told(*request);
  return reports;
}

TEST(ServiceReports, AtFirstWhatTheGatewayHasIsReplacedThoughThereIsNothingToSay) {
  ServiceReports reports = told_of_nothing();
  EXPECT_EQ(text_of(reports.next()), "nothing");
  reports.start_over();
  EXPECT_TRUE(reports.next()->replace());
}

TEST(ServiceReports, TheSameIsToldOnce) {
  ServiceReports reports = told_of_nothing();
  reports.translated(kWeb, "it has no port", {});
  EXPECT_EQ(text_of(reports.next()), "web=NotServed: it has no port");
  EXPECT_EQ(text_of(reports.next()), "web=NotServed: it has no port");  // it was not told
  reports.told(*reports.next());
  reports.translated(kWeb, "it has no port", {});
  EXPECT_EQ(text_of(reports.next()), "nothing");
  reports.translated(kWeb, "", {});
  EXPECT_EQ(text_of(reports.next()), "web");
  reports.told(*reports.next());
  reports.translated(kWeb, "", {});
  EXPECT_EQ(text_of(reports.next()), "nothing");
}

TEST(ServiceReports, ARefusalComesFirstAndDoesNotHideTheRest) {
  ServiceReports reports = told_of_nothing();
  reports.translated(kWeb, "", {{"BadAddress", "one"}, {"BadAnnotation", "two"}});
  reports.refused(kWeb, "taken");
  EXPECT_EQ(text_of(reports.next()), "web=GatewayRefused: taken; one; two");
  reports.translated(kWeb, "", {});
  EXPECT_EQ(text_of(reports.next()), "web=GatewayRefused: taken");
  reports.translated(kWeb, "", {{"BadAddress", "one"}});
  reports.refused(kWeb, "");
  EXPECT_EQ(text_of(reports.next()), "web=BadAddress: one");
}

TEST(ServiceReports, LongTextsAreCutBetweenCharacters) {
  ServiceReports reports = told_of_nothing();
  std::string message(kReportMessageMax - 4, 'x');
  message += "\u00e9\u00e9\u00e9";
  reports.translated(kWeb, "", {{std::string(200, 'R'), message}});
  const auto request = reports.next();
  EXPECT_EQ(request->reports(0).reason().size(), kReportReasonMax);
  EXPECT_EQ(request->reports(0).message(), std::string(kReportMessageMax - 4, 'x') + "...");
  const std::string fits(kReportMessageMax, 'x');
  reports.translated(kWeb, "", {{"R", fits}});
  EXPECT_EQ(reports.next()->reports(0).message(), fits);
}

TEST(ServiceReports, ARequestIsBounded) {
  ServiceReports reports;
  for (std::size_t i = 0; i < kReportsMax + 1; ++i) {
    reports.translated({"shop", std::to_string(i)}, "it has no port", {});
  }
  const auto first = reports.next();
  EXPECT_EQ(first->reports_size(), static_cast<int>(kReportsMax));
  EXPECT_TRUE(first->replace());
  reports.told(*first);
  EXPECT_EQ(reports.next()->reports_size(), 1);
  EXPECT_FALSE(reports.next()->replace());
  reports.told(*reports.next());
  EXPECT_EQ(text_of(reports.next()), "nothing");
}

}  // namespace
}  // namespace sluice::kubernetes
