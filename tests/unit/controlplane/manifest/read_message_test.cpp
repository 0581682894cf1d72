// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/manifest.h"

#include <gtest/gtest.h>

#include "sluice/v1/config.pb.h"
#include "sluice/v1/gateway.pb.h"

namespace sluice::manifest {
namespace {

struct FaultCase {
  const char* description;
  const char* text;  // of a Service
  const char* path;
  const char* message;
  int line;
};

class EveryFault : public testing::TestWithParam<FaultCase> {};

TEST_P(EveryFault, IsFoundWithItsPathAndLine) {
  v1::Service service;
  const std::vector<Fault> faults = read_text(GetParam().text, service);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].path, GetParam().path);
  EXPECT_EQ(faults[0].message, GetParam().message);
  EXPECT_EQ(faults[0].line, GetParam().line);
}

constexpr FaultCase kFaults[] = {
    {"unknown field", "metadata:\n  owner: me", "metadata.owner", "unknown field", 2},
    {"misspelt field", "spec:\n  prots: []", "spec.prots", "unknown field; did you mean 'ports'?",
     2},
    {"field in another case", "spec:\n  loadbalancerips: []", "spec.loadbalancerips",
     "unknown field; did you mean 'loadBalancerIPs'?", 2},
    {"merge key", "metadata:\n  <<: {name: a}", "metadata.<<",
     "merge keys are not read; write the fields out", 2},
    {"key that is no word", "metadata:\n  [a]: b", "metadata",
     "a field name is expected, got a list", 2},
    {"field given twice", "metadata:\n  name: a\n  name: b", "metadata.name",
     "given twice, first in line 2", 3},
    {"field given in both spellings", "spec:\n  loadBalancerIPs: []\n  load_balancer_ips: []",
     "spec.loadBalancerIPs", "given twice, first in line 2", 3},
    {"map key given twice", "metadata:\n  labels:\n    a: b\n    a: c", "metadata.labels[a]",
     "given twice, first in line 3", 4},
    {"number for text", "metadata:\n  name: 80", "metadata.name",
     "expected text, got the number 80; put text in quotes", 2},
    {"truth value for text", "metadata:\n  name: true", "metadata.name",
     "expected text, got the truth value true; put text in quotes", 2},
    {"mapping for text", "metadata:\n  name: {a: b}", "metadata.name",
     "expected text, got a mapping; put text in quotes", 2},
    {"list for text", "metadata:\n  name: [a]", "metadata.name", "expected text, got a list", 2},
    {"nothing in a list", "spec:\n  loadBalancerIPs:\n  - ", "spec.loadBalancerIPs[0]",
     "expected text, got nothing; put text in quotes", 3},
    {"IPv6 that reads as a mapping", "spec:\n  loadBalancerIPs:\n  - 2001:db8::",
     "spec.loadBalancerIPs[0]", "expected text, got a mapping; put text in quotes", 3},
    {"text in bytes that are not UTF-8", "metadata:\n  name: \"a\xff\"", "metadata.name",
     "the text is not valid UTF-8", 2},
    {"text for a number", "spec:\n  ports:\n  - targetPort: http", "spec.ports[0].targetPort",
     "expected a whole number, got the text 'http'", 3},
    {"quoted number", "spec:\n  ports:\n  - port: \"80\"", "spec.ports[0].port",
     "expected a whole number, got the text '80'", 3},
    {"fraction", "spec:\n  ports:\n  - port: 80.5", "spec.ports[0].port",
     "expected a whole number, got the number 80.5", 3},
    {"leading zero", "spec:\n  ports:\n  - port: 080", "spec.ports[0].port",
     "the number 080 may not begin with 0", 3},
    {"number above 32 bits", "spec:\n  ports:\n  - port: 4294967376", "spec.ports[0].port",
     "the number 4294967376 is out of range -2147483648..2147483647", 3},
    {"negative number without a sign to keep", "spec:\n  endpoints:\n  - weight: -1",
     "spec.endpoints[0].weight", "the number -1 is out of range 0..4294967295", 3},
    {"number above 64 bits", "status:\n  revision: 18446744073709551616", "status.revision",
     "the number 18446744073709551616 is out of range 0..18446744073709551615", 2},
    {"word for a truth value", "spec:\n  publishNotReadyAddresses: yes",
     "spec.publishNotReadyAddresses", "expected true or false, got the text 'yes'", 2},
    {"number for a truth value", "spec:\n  publishNotReadyAddresses: 1",
     "spec.publishNotReadyAddresses", "expected true or false, got the number 1", 2},
    {"scalar for a list", "spec:\n  loadBalancerIPs: 192.0.2.1", "spec.loadBalancerIPs",
     "expected a list, got the text '192.0.2.1'", 2},
    {"mapping for a list", "spec:\n  ports: {port: 80}", "spec.ports",
     "expected a list, got a mapping", 2},
    {"scalar for a mapping", "spec: none", "spec", "expected a mapping, got the text 'none'", 1},
    {"list for a map", "spec:\n  selector: [a]", "spec.selector", "expected a mapping, got a list",
     2},
    {"map value of another type", "spec:\n  endpoints:\n  - ports: {http: web}",
     "spec.endpoints[0].ports[http]", "expected a whole number, got the text 'web'", 3},
    {"no time", "metadata:\n  creationTimestamp: yesterday", "metadata.creationTimestamp",
     "expected a time such as 2026-01-31T12:00:00Z, got the text 'yesterday'", 2},
    {"list at the top", "- a", "", "expected a mapping, got a list", 1},
    {"two documents", "metadata: {}\n---\nmetadata: {}", "", "several documents; expected one", 3},
};

INSTANTIATE_TEST_SUITE_P(Reader, EveryFault, testing::ValuesIn(kFaults));

TEST(ReadMessage, AllFaultsOfATextComeTogether) {
  v1::Service service;
  const auto faults = read_text(
      "metadata: {name: 1, colour: red}\n"
      "spec:\n"
      "  ports:\n"
      "  - {port: 80, protocol: TCP}\n"
      "  - {port: eighty, protocol: 6}\n"
      "  endpoints: none\n",
      service);
  std::vector<std::string> paths;
  for (const Fault& fault : faults) {
    paths.push_back(fault.path);
  }
  EXPECT_EQ(paths,
            (std::vector<std::string>{"metadata.name", "metadata.colour", "spec.ports[1].port",
                                      "spec.ports[1].protocol", "spec.endpoints"}));
}

TEST(ReadMessage, WhatCouldBeReadIsInTheMessageWithItsIndices) {
  v1::Service service;
  const auto faults = read_text(
      "spec:\n"
      "  ports: [{port: a}, {port: 81}, nonsense, {port: 83}]\n"
      "  loadBalancerIPs: [192.0.2.1, 5, 192.0.2.3]\n",
      service);
  EXPECT_EQ(faults.size(), 3U);
  ASSERT_EQ(service.spec().ports_size(), 4);
  EXPECT_EQ(service.spec().ports(1).port(), 81);
  EXPECT_EQ(service.spec().ports(3).port(), 83);
  ASSERT_EQ(service.spec().load_balancer_ips_size(), 3);
  EXPECT_EQ(service.spec().load_balancer_ips(2), "192.0.2.3");
}

TEST(ReadMessage, OfAFieldGivenTwiceTheFirstValueIsKept) {
  v1::Service service;
  const auto faults = read_text("metadata:\n  name: a\n  name: b", service);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_TRUE(faults[0].value_kept);
  EXPECT_EQ(service.metadata().name(), "a");
}

TEST(ReadMessage, BothSpellingsOfANameAreRead) {
  v1::Service service;
  ASSERT_TRUE(read_text("spec:\n  load_balancer_ips: [192.0.2.1]\n"
                        "  ports: [{targetPort: 1}, {target_port: 2}]\n"
                        "  sessionAffinityConfig: {clientIP: {timeout_seconds: 9}}",
                        service)
                  .empty());
  EXPECT_EQ(service.spec().load_balancer_ips(0), "192.0.2.1");
  EXPECT_EQ(service.spec().ports(0).target_port(), 1);
  EXPECT_EQ(service.spec().ports(1).target_port(), 2);
  EXPECT_EQ(service.spec().session_affinity_config().client_ip().timeout_seconds(), 9);
}

TEST(ReadMessage, NullIsTheSameAsAbsent) {
  v1::Service service;
  ASSERT_TRUE(read_text("metadata:\n  name:\n  labels: ~\n  creationTimestamp: null\n"
                        "spec: {endpoints: [{weight: null}]}",
                        service)
                  .empty());
  EXPECT_FALSE(service.metadata().has_creation_timestamp());
  EXPECT_FALSE(service.spec().endpoints(0).has_weight());
}

TEST(ReadMessage, AnOptionalFieldKnowsWhetherItWasGiven) {
  v1::Service service;
  ASSERT_TRUE(read_text("spec: {endpoints: [{weight: 0}, {}]}", service).empty());
  EXPECT_TRUE(service.spec().endpoints(0).has_weight());
  EXPECT_FALSE(service.spec().endpoints(1).has_weight());
}

TEST(ReadMessage, NumbersAreReadInEveryFormAndUpToTheirBounds) {
  v1::ServiceStatus status;
  ASSERT_TRUE(read_text("revision: 18446744073709551615\nepoch: \"42\"\n"
                        "frontends: [{port: 0x50}, {port: -2147483648}, {port: +7}]",
                        status)
                  .empty());
  EXPECT_EQ(status.revision(), UINT64_MAX);
  EXPECT_EQ(status.epoch(), 42U);
  EXPECT_EQ(status.frontends(0).port(), 0x50);
  EXPECT_EQ(status.frontends(1).port(), INT32_MIN);
  EXPECT_EQ(status.frontends(2).port(), 7);
}

TEST(ReadMessage, EnumsAreNames) {
  v1::ServiceEvent event;
  EXPECT_TRUE(read_text("type: DELETED", event).empty());
  EXPECT_EQ(event.type(), v1::ServiceEvent::DELETED);
  const auto faults = read_text("type: GONE", event);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].message,
            "expected one of TYPE_UNSPECIFIED, ADDED, MODIFIED, DELETED, SYNCED, got the text "
            "'GONE'");
}

TEST(ReadMessage, TimesAreRfc3339) {
  v1::ObjectMeta meta;
  ASSERT_TRUE(read_text("creationTimestamp: 2026-01-31T12:00:00+01:00", meta).empty());
  EXPECT_EQ(meta.creation_timestamp().seconds(), 1769857200);
}

TEST(ReadMessage, JsonIsRead) {
  v1::Service service;
  ASSERT_TRUE(read_text(R"({"metadata": {"name": "web", "labels": {"a": "b"}},
                           "spec": {"ports": [{"port": 80}]}})",
                        service)
                  .empty());
  EXPECT_EQ(service.metadata().labels().at("a"), "b");
  EXPECT_EQ(service.spec().ports(0).port(), 80);
}

TEST(ReadMessage, AnAliasIsReadAsWhatItStandsFor) {
  v1::Service service;
  ASSERT_TRUE(read_text("spec:\n  endpoints:\n  - &one {addresses: [10.0.0.1]}\n  - *one", service)
                  .empty());
  EXPECT_EQ(service.spec().endpoints(1).addresses(0), "10.0.0.1");
}

TEST(ReadMessage, ATextThatAliasesMakeEnormousIsCutOff) {
  std::string text = "spec:\n  endpoints:\n  - &endpoint {addresses: [";
  for (int i = 0; i < 20'000; ++i) {
    text += "a,";
  }
  text += "]}\n";
  for (int i = 0; i < 1000; ++i) {
    text += "  - *endpoint\n";
  }
  v1::Service service;
  const auto faults = read_text(text, service);
  ASSERT_FALSE(faults.empty());
  EXPECT_EQ(faults.back().message, "more than 4194304 values");
}

TEST(ReadMessage, TheNumberOfFaultsIsBounded) {
  std::string text;
  for (std::size_t i = 0; i < 2 * kFaultsMax; ++i) {
    text += "x" + std::to_string(i) + ": 1\n";
  }
  v1::Service service;
  const auto faults = read_text(text, service);
  EXPECT_EQ(faults.size(), kFaultsMax);
  EXPECT_EQ(faults.back().message, "too many faults; what follows is not shown");
}

TEST(ReadMessage, ThePathOfTheCallerComesFirst) {
  v1::Service service;
  const auto faults = read_message(YAML::Load("spec: {prots: 1}"), service, "upsert[3]");
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].path, "upsert[3].spec.prots");
}

TEST(ReadMessage, AnEmptyTextIsAnEmptyMessage) {
  for (const char* text : {"", "# nothing\n", "---\n", "~"}) {
    v1::GatewayConfig config;
    EXPECT_TRUE(read_text(text, config).empty()) << text;
  }
}

TEST(ToString, PutsLinePathAndMessageInOrder) {
  EXPECT_EQ(to_string(Fault{"a.b", "is wrong", 3}), "line 3: a.b: is wrong");
  EXPECT_EQ(to_string(Fault{"", "is wrong", 0}), "is wrong");
}

}  // namespace
}  // namespace sluice::manifest
