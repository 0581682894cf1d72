// SPDX-License-Identifier: Apache-2.0
// What the status of a LoadBalancer says, and when it is written: KUBERNETES.md 2.5, 3.2.
#include "controlplane/kubernetes/cluster_writer.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

namespace sluice::kubernetes {
namespace {

using Json = nlohmann::json;

const PortError kSctp{132, "SCTP", "LoadBalancerMixedProtocolNotSupported"};
const PortError kUnreached{80, "TCP", "NoRouteToEndpoints"};
const IpAddress kVip = *parse_ip("203.0.113.10");

StatusCondition condition(const std::string& type, const std::string& status,
                          const std::string& reason, const std::string& message) {
  return {type,
          status,
          reason,
          message,
          "2026-01-01T00:00:00Z",
          R"({"type":")" + type + R"(","status":")" + status + R"(","x":1})"};
}

// It shows kVip and SCTP's error.
Service service() {
  Service made;
  made.meta.name = {"shop", "web"};
  made.meta.uid = "u1";
  made.meta.resource_version = "7";
  made.type = "LoadBalancer";
  made.ingress = {{"203.0.113.10", "VIP", {kSctp}}};
  made.conditions = {condition("Ready", "True", "", ""),
                     condition(kPortsErrorCondition, "True", kSctp.error,
                               "132/SCTP: LoadBalancerMixedProtocolNotSupported")};
  return made;
}
WantedStatus wanted() {
  return {{kVip}, "VIP", {kSctp}};
}

struct Case {
  const char* claim;
  std::function<void(Service&, WantedStatus&)> change;
  bool has;
};

TEST(ClusterWriter, HasAStatusWhenAllThatItSaysIsThere) {
  const Case cases[] = {
      {"all of it", [](auto&, auto&) {}, true},
      {"another address", [](auto&, auto& w) { w.vips = {*parse_ip("203.0.113.11")}; }, false},
      {"no address", [](auto& s, auto&) { s.ingress.clear(); }, false},
      {"another error", [](auto&, auto& w) { w.errors = {kUnreached}; }, false},
      {"3.2: another mode", [](auto&, auto& w) { w.ip_mode = "Proxy"; }, false},
      {"3.2: the same other mode",
       [](auto& s, auto& w) {
         w.ip_mode = "Proxy";
         s.ingress[0].ip_mode = "Proxy";
       },
       true},
      {"3.2: back to the short way", [](auto& s, auto&) { s.ingress[0].ip_mode = "Proxy"; }, false},
      {"a server that has no such field", [](auto& s, auto&) { s.ingress[0].ip_mode = ""; }, true},
      {"nor for the other mode",
       [](auto& s, auto& w) {
         w.ip_mode = "Proxy";
         s.ingress[0].ip_mode = "";
       },
       true},
      {"2.5: no condition", [](auto& s, auto&) { s.conditions.pop_back(); }, false},
      {"2.5: one that is false", [](auto& s, auto&) { s.conditions[1].status = "False"; }, false},
      {"2.5: another reason", [](auto& s, auto&) { s.conditions[1].reason = "Other"; }, false},
      {"2.5: another message", [](auto& s, auto&) { s.conditions[1].message = "Other"; }, false},
      {"2.5: a condition without errors",
       [](auto& s, auto& w) {
         s.ingress[0].ports.clear();
         w.errors.clear();
       },
       false},
      {"2.5: a false one is as none",
       [](auto& s, auto& w) {
         s.ingress[0].ports.clear();
         s.conditions[1].status = "False";
         w.errors.clear();
       },
       true},
      {"2.5: errors without an address are in the condition alone",
       [](auto& s, auto& w) {
         s.ingress.clear();
         w.vips.clear();
       },
       true},
      {"nothing, of one that has nothing",
       [](auto& s, auto& w) {
         s.ingress.clear();
         s.conditions.clear();
         w = {};
       },
       true},
      {"nothing, of one that has others' conditions",
       [](auto& s, auto& w) {
         s.ingress.clear();
         s.conditions.pop_back();
         w = {};
       },
       true}};
  for (const auto& [claim, change, has] : cases) {
    Service held = service();
    WantedStatus status = wanted();
    change(held, status);
    EXPECT_EQ(ClusterWriter::has_status(held, status), has) << claim;
  }
}

Json patch(const Service& held, const WantedStatus& status) {
  return Json::parse(ClusterWriter::status_patch(held, status));
}

TEST(ClusterWriter, WritesTheVeryObjectThatItHasRead) {
  const Json body = patch(service(), {});
  EXPECT_EQ(body["metadata"], (Json{{"uid", "u1"}, {"resourceVersion", "7"}}));
}

TEST(ClusterWriter, WritesOneEntryAnAddressWithModeAndErrors) {
  const Json body = patch(service(), {{kVip, *parse_ip("2001:db8::1")}, "Proxy", {kUnreached}});
  const Json ports =
      Json::array({{{"port", 80}, {"protocol", "TCP"}, {"error", "NoRouteToEndpoints"}}});
  EXPECT_EQ(body["status"]["loadBalancer"]["ingress"],
            Json::array({{{"ip", "203.0.113.10"}, {"ipMode", "Proxy"}, {"ports", ports}},
                         {{"ip", "2001:db8::1"}, {"ipMode", "Proxy"}, {"ports", ports}}}));
}

TEST(ClusterWriter, WithoutAddressesTakesTheEntriesAway) {
  EXPECT_TRUE(patch(service(), {})["status"]["loadBalancer"]["ingress"].is_null());
}

TEST(ClusterWriter, LeavesTheConditionsOfOthersAsTheyAre) {
  const Json other{{"type", "Ready"}, {"status", "True"}, {"x", 1}};
  EXPECT_EQ(patch(service(), {{kVip}, "VIP", {}})["status"]["conditions"], Json::array({other}))
      << "its own goes with the errors";
  const Json both = patch(service(), {{kVip}, "VIP", {kUnreached, kSctp}})["status"]["conditions"];
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0], other);
}

TEST(ClusterWriter, DoesNotWriteConditionsThatAreThere) {
  EXPECT_FALSE(patch(service(), {{kVip}, "Proxy", {kSctp}})["status"].contains("conditions"));
}

TEST(ClusterWriter, WritesAConditionOfItsOwnWithTheTimeOfItsChange) {
  Service held = service();
  const Json later = patch(held, {{kVip}, "VIP", {kUnreached, kSctp}})["status"]["conditions"][1];
  EXPECT_EQ(later["type"], kPortsErrorCondition);
  EXPECT_EQ(later["status"], "True");
  EXPECT_EQ(later["reason"], "LoadBalancerMixedProtocolNotSupported") << "2.5: if it is among them";
  EXPECT_EQ(later["message"],
            "80/TCP: NoRouteToEndpoints, 132/SCTP: LoadBalancerMixedProtocolNotSupported");
  EXPECT_EQ(later["lastTransitionTime"], "2026-01-01T00:00:00Z") << "it was true before";
  held.conditions[1].status = "False";
  const Json now = patch(held, {{kVip}, "VIP", {kUnreached}})["status"]["conditions"][1];
  EXPECT_EQ(now["reason"], "NoRouteToEndpoints");
  EXPECT_NE(now["lastTransitionTime"], "2026-01-01T00:00:00Z");
  held.conditions.clear();
  EXPECT_EQ(patch(held, {{kVip}, "VIP", {kUnreached}})["status"]["conditions"].size(), 1U);
}

}  // namespace
}  // namespace sluice::kubernetes
