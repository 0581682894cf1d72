// SPDX-License-Identifier: Apache-2.0
// How clients of a service are treated, and what its annotations say: KUBERNETES.md 2.2, 2.3, 2.5,
// 2.6, 3.3-3.6, 3.11, 3.13.
#include "controlplane/kubernetes/addresses.h"
#include "controlplane/kubernetes/translate.h"
#include "controlplane/model/allocate.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

constexpr const char* kRangesAnnotation = "service.beta.kubernetes.io/load-balancer-source-ranges";

std::string policies(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  const v1::ServiceSpec& spec = made.service->spec();
  return "external=" + spec.external_traffic_policy() +
         " internal=" + spec.internal_traffic_policy();
}

TEST(TranslatePolicies, AreToldWhereTheyMeanSomething) {
  expect_rows({{"2.3: Cluster is the default of both", [](Cluster&) {}, "external= internal="},
               {"2.3: absent is Cluster",
                [](Cluster& c) {
                  c.service.external_traffic_policy.clear();
                  c.service.internal_traffic_policy.clear();
                },
                "external= internal="},
               {"2.3: Local is of LoadBalancers",
                [](Cluster& c) { c.service.external_traffic_policy = "Local"; },
                "external=Local internal="},
               {"2.3: and of node ports",
                [](Cluster& c) {
                  c.become("NodePort");
                  c.service.external_traffic_policy = "Local";
                },
                "external=Local internal="},
               {"2.3: and of external addresses, of any type",
                [](Cluster& c) {
                  c.become("ClusterIP");
                  c.service.external_ips = {"192.0.2.7"};
                  c.service.external_traffic_policy = "Local";
                },
                "external=Local internal="},
               {"2.3: a service without an external address has none",
                [](Cluster& c) {
                  c.become("ClusterIP");
                  c.settings.expose_cluster_ips = true;
                  c.service.external_traffic_policy = "Local";
                },
                "external= internal="},
               {"2.3: nor has a LoadBalancer that is reached by its cluster address only",
                [](Cluster& c) {
                  c.vips.clear();
                  c.settings.expose_cluster_ips = true;
                  c.settings.expose_node_ports = false;
                  c.service.external_traffic_policy = "Local";
                },
                "external= internal="},
               {"2.3: internalTrafficPolicy is told, for cluster addresses",
                [](Cluster& c) {
                  c.become("ClusterIP");
                  c.settings.expose_cluster_ips = true;
                  c.service.internal_traffic_policy = "Local";
                },
                "external= internal=Local"},
               {"2.3: it does not change the other",
                [](Cluster& c) { c.service.internal_traffic_policy = "Local"; },
                "external= internal=Local"},
               {"1.31: a word from the future is no Local",
                [](Cluster& c) {
                  c.service.external_traffic_policy = "Near";
                  c.service.internal_traffic_policy = "Near";
                },
                "external= internal="}},
              policies);
}

TEST(TranslatePolicies, LeaveTheWayOfForwardingToTheGateway) {
  for (const char* policy : {"Cluster", "Local"}) {
    Cluster cluster;
    cluster.service.external_traffic_policy = policy;
    const Translation made = cluster.translated();
    ASSERT_TRUE(made.service);
    EXPECT_EQ(made.service->spec().forwarding().mode(), "")
        << "3.3: it follows from the policy and the gateway's return path";
    EXPECT_EQ(made.service->spec().forwarding().no_endpoints(), "refuse") << "2.2, 3.4";
    EXPECT_EQ(behind(made), "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353, 10.0.0.2:5353")
        << "3.3: with endpoint delivery both policies choose among all";
  }
}

TEST(TranslatePolicies, LeaveWhatNeedsNoCodeAlone) {
  Cluster cluster;
  cluster.service.health_check_node_port = 31'000;
  cluster.service.external_traffic_policy = "Local";
  const Translation made = cluster.translated();
  ASSERT_TRUE(made.service);
  EXPECT_FALSE(made.service->spec().publish_not_ready_addresses())
      << "2.2: the controller makes them ready";
  EXPECT_TRUE(made.service->spec().selector().empty()) << "2.1: slices are joined by their label";
  EXPECT_EQ(made.service->spec().health_check_node_port(), 0) << "a node's, not the gateway's";
  EXPECT_EQ(faults_at_gateway(*made.service), "");
}

TEST(TranslatePolicies, CarryAffinityOver) {
  const auto affinity = [](const Translation& made) {
    const v1::ServiceSpec& spec = made.service->spec();
    const auto& config = spec.session_affinity_config();
    return spec.session_affinity() +
           (config.client_ip().has_timeout_seconds()
                ? " " + std::to_string(config.client_ip().timeout_seconds())
                : "");
  };
  expect_rows({{"2.6: None is none", [](Cluster&) {}, ""},
               {"absent is none", [](Cluster& c) { c.service.session_affinity.clear(); }, ""},
               {"2.6: ClientIP without a time has the gateway's default, which is Kubernetes'",
                [](Cluster& c) { c.service.session_affinity = "ClientIP"; }, "ClientIP"},
               {"2.6: the default that the API server fills in",
                [](Cluster& c) {
                  c.service.session_affinity = "ClientIP";
                  c.service.affinity_seconds = 10'800;
                },
                "ClientIP 10800"},
               {"2.6: from a second",
                [](Cluster& c) {
                  c.service.session_affinity = "ClientIP";
                  c.service.affinity_seconds = 1;
                },
                "ClientIP 1"},
               {"2.6: to a day",
                [](Cluster& c) {
                  c.service.session_affinity = "ClientIP";
                  c.service.affinity_seconds = 86'400;
                },
                "ClientIP 86400"},
               {"2.6: a time left over without affinity is left out",
                [](Cluster& c) { c.service.affinity_seconds = 10'800; }, ""},
               {"2.6: external addresses and node ports have it too",
                [](Cluster& c) {
                  c.become("NodePort");
                  c.service.session_affinity = "ClientIP";
                },
                "ClientIP"},
               {"3.12: and so have exposed names",
                [](Cluster& c) {
                  c.expose_name();
                  c.service.session_affinity = "ClientIP";
                },
                "ClientIP"}},
              affinity);
}

std::string ranges(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  std::string text;
  for (const std::string& range : made.service->spec().load_balancer_source_ranges()) {
    text += (text.empty() ? "" : ",") + range;
  }
  return text + (made.findings.empty() ? "" : " (" + reasons(made) + ")");
}

TEST(TranslateSourceRanges, AreCarriedOverAsTheyAre) {
  expect_rows(
      {{"none: everybody", [](Cluster&) {}, ""},
       {"of both families; which holds is the gateway's to say",
        [](Cluster& c) {
          c.service.source_ranges = {"10.0.0.0/8", "2001:db8::/32"};
        },
        "10.0.0.0/8,2001:db8::/32"},
       {"3.5: of the other family only: the gateway denies this one",
        [](Cluster& c) { c.service.source_ranges = {"2001:db8::/32"}; }, "2001:db8::/32"},
       {"2.5: spaces around are trimmed",
        [](Cluster& c) {
          c.service.source_ranges = {" 10.0.0.0/8 ", "\t192.0.2.0/24\n"};
        },
        "10.0.0.0/8,192.0.2.0/24"},
       {"2.5: a zero-length prefix is all",
        [](Cluster& c) {
          c.service.source_ranges = {"0.0.0.0/0", "10.0.0.0/8"};
        },
        "0.0.0.0/0,10.0.0.0/8"},
       {"2.5: with host bits, as Kubernetes takes them",
        [](Cluster& c) { c.service.source_ranges = {"10.1.2.3/8"}; }, "10.1.2.3/8"},
       {"a single address",
        [](Cluster& c) {
          c.service.source_ranges = {"192.0.2.1/32", "2001:db8::1/128"};
        },
        "192.0.2.1/32,2001:db8::1/128"},
       {"2.5: the annotation counts when the field is empty",
        [](Cluster& c) { c.annotate(kRangesAnnotation, "10.0.0.0/8, 192.0.2.0/24"); },
        "10.0.0.0/8,192.0.2.0/24"},
       {"2.5: and only then",
        [](Cluster& c) {
          c.service.source_ranges = {"198.51.100.0/24"};
          c.annotate(kRangesAnnotation, "10.0.0.0/8");
        },
        "198.51.100.0/24"},
       {"2.5: an empty annotation is none", [](Cluster& c) { c.annotate(kRangesAnnotation, ""); },
        ""},
       {"2.5: and so is a blank one", [](Cluster& c) { c.annotate(kRangesAnnotation, "  "); }, ""},
       {"the annotation of an exposed name counts for its VIP",
        [](Cluster& c) {
          c.expose_name();
          c.annotate(kRangesAnnotation, "10.0.0.0/8");
        },
        "10.0.0.0/8"}},
      ranges);
}

TEST(TranslateSourceRanges, ThatAreNoneAllowNobody) {
  expect_rows(
      {{"a bad one is told, the others hold",
        [](Cluster& c) {
          c.service.source_ranges = {"10.0.0.0/8", "home"};
        },
        "10.0.0.0/8 (BadSourceRange)"},
       {"when none can be read nobody is let in, rather than everybody",
        [](Cluster& c) { c.service.source_ranges = {"home"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"an address without a length", [](Cluster& c) { c.service.source_ranges = {"10.0.0.1"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"33 bits", [](Cluster& c) { c.service.source_ranges = {"10.0.0.0/33"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"129 bits", [](Cluster& c) { c.service.source_ranges = {"2001:db8::/129"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"a length with a sign", [](Cluster& c) { c.service.source_ranges = {"10.0.0.0/+8"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"a length after a space", [](Cluster& c) { c.service.source_ranges = {"10.0.0.0/ 8"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"no length", [](Cluster& c) { c.service.source_ranges = {"10.0.0.0/"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"two lengths", [](Cluster& c) { c.service.source_ranges = {"10.0.0.0/8/9"}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"an empty one", [](Cluster& c) { c.service.source_ranges = {""}; },
        "255.255.255.255/32 (BadSourceRange)"},
       {"a comma too many in the annotation",
        [](Cluster& c) { c.annotate(kRangesAnnotation, "10.0.0.0/8,"); },
        "10.0.0.0/8 (BadSourceRange)"}},
      ranges);
}

TEST(TranslateSourceRanges, ApplyToVipsAndExternalAddressesOfALoadBalancer) {
  const auto both = [](const Translation& made) { return reach(made) + " from=" + ranges(made); };
  expect_rows(
      {{"3.5: to external addresses beside a VIP",
        [](Cluster& c) {
          c.service.source_ranges = {"10.0.0.0/8"};
          c.service.external_ips = {"192.0.2.7"};
        },
        "LoadBalancer vips=203.0.113.10 external=192.0.2.7 from=10.0.0.0/8"},
       {"2.5: node ports and cluster addresses are not filtered: another type is told without",
        [](Cluster& c) {
          c.service.source_ranges = {"10.0.0.0/8"};
          c.vips.clear();
          c.settings.expose_cluster_ips = true;
        },
        "NodePort cluster=10.96.0.10 from="},
       {"3.5: while there is no VIP to tell them with, external addresses wait too",
        [](Cluster& c) {
          c.service.source_ranges = {"10.0.0.0/8"};
          c.service.external_ips = {"192.0.2.7"};
          c.vips.clear();
        },
        "NodePort from="},
       {"2.5: the annotation means nothing on a NodePort",
        [](Cluster& c) {
          c.become("NodePort");
          c.service.external_ips = {"192.0.2.7"};
          c.annotate(kRangesAnnotation, "10.0.0.0/8");
        },
        "NodePort external=192.0.2.7 from="},
       {"2.5: nor on a ClusterIP",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.settings.expose_cluster_ips = true;
          c.annotate(kRangesAnnotation, "home");
        },
        "ClusterIP cluster=10.96.0.10 from="}},
      both);
}

std::string annotations(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  std::map<std::string, std::string> sorted(made.service->metadata().annotations().begin(),
                                            made.service->metadata().annotations().end());
  std::string text = made.service->spec().forwarding().on_endpoint_removal();
  for (const auto& [key, value] : sorted) {
    text += " " + key + "=" + value;
  }
  return text + (made.findings.empty() ? "" : " (" + reasons(made) + ")");
}

TEST(TranslateAnnotations, AreValidated) {
  expect_rows(
      {{"none", [](Cluster&) {}, ""},
       {"3.6: flows of endpoints that are gone are kept unless it is said", [](Cluster&) {}, ""},
       {"3.6: or said so", [](Cluster& c) { c.annotate("sluice.dev/on-endpoint-removal", "keep"); },
        "keep"},
       {"3.6: reset", [](Cluster& c) { c.annotate("sluice.dev/on-endpoint-removal", "reset"); },
        "reset"},
       {"3.13: another word is told and left out",
        [](Cluster& c) { c.annotate("sluice.dev/on-endpoint-removal", "Reset"); },
        " (BadAnnotation)"},
       {"3.11: the key by which an address is shared goes to the gateway",
        [](Cluster& c) { c.annotate("sluice.dev/allow-shared-ip", "blue"); },
        " sluice.dev/allow-shared-ip=blue"},
       {"3.11: the pool is the adapter's to choose from, and no matter of the gateway's",
        [](Cluster& c) { c.annotate("sluice.dev/address-pool", "public"); }, ""},
       {"3.13: an empty text is no value",
        [](Cluster& c) {
          c.annotate("sluice.dev/allow-shared-ip", "");
          c.annotate("sluice.dev/address-pool", "");
        },
        " (BadAnnotation, BadAnnotation)"},
       {"3.13: a key that does not exist",
        [](Cluster& c) { c.annotate("sluice.dev/delivry", "node"); }, " (BadAnnotation)"},
       {"3.13: a key without a name", [](Cluster& c) { c.annotate("sluice.dev/", "x"); },
        " (BadAnnotation)"},
       {"3.13: a bad delivery", [](Cluster& c) { c.annotate("sluice.dev/delivery", "nodes"); },
        " (BadAnnotation)"},
       {"3.13: delivery is the adapter's matter: the gateway is not told",
        [](Cluster& c) { c.annotate("sluice.dev/delivery", "endpoint"); }, ""},
       {"2.5: and so are the addresses asked for",
        [](Cluster& c) { c.annotate("sluice.dev/load-balancer-ips", "203.0.113.10"); }, ""},
       {"what the adapter writes itself is no finding",
        [](Cluster& c) { c.annotate(kProviderAnnotation, "cluster-1"); }, ""},
       {"others' annotations are not looked at",
        [](Cluster& c) {
          c.annotate("metallb.io/address-pool", "x");
          c.annotate("sluice.development/delivery", "x");
          c.annotate("sluice", "x");
        },
        ""},
       {"3.13: the rest of the service still works",
        [](Cluster& c) {
          c.annotate("sluice.dev/x", "1");
          c.annotate("sluice.dev/allow-shared-ip", "blue");
          c.annotate("sluice.dev/on-endpoint-removal", "reset");
        },
        "reset sluice.dev/allow-shared-ip=blue (BadAnnotation)"}},
      annotations);
}

TEST(TranslateAnnotations, ThatAreBadAreNamedWithTheWayOut) {
  Cluster cluster;
  cluster.annotate("sluice.dev/on-endpoint-removal", "drop");
  cluster.annotate("sluice.dev/new", "1");
  const Translation made = cluster.translated();
  ASSERT_EQ(made.findings.size(), 2U);
  EXPECT_EQ(made.findings[0].message.find("sluice.dev/new: "), 0U) << findings(made);
  EXPECT_EQ(made.findings[1].message.find("sluice.dev/on-endpoint-removal: 'drop'"), 0U)
      << findings(made);
  EXPECT_NE(made.findings[1].message.find("keep, reset"), std::string::npos) << findings(made);
}

TEST(TranslateAnnotations, OfANameThatIsNotExposedAreNamedWhenTheyAreTheReason) {
  Cluster cluster;
  cluster.expose_name();
  cluster.annotate(model::kExposeExternalNameAnnotation, "yes");
  const Translation made = cluster.translated();
  EXPECT_FALSE(made.service);
  EXPECT_EQ(reasons(made), "BadAnnotation");
  EXPECT_NE(findings(made).find(model::kExposeExternalNameAnnotation), std::string::npos);
}

TEST(TranslateAnnotations, OfServicesThatAreNotOursAreNobodysConcern) {
  Cluster cluster;
  cluster.annotate("sluice.dev/new", "1");
  cluster.service.load_balancer_class = "example.com/other";
  EXPECT_EQ(reasons(cluster.translated()), "") << "2.1: never touched";
  cluster.service.load_balancer_class = kLoadBalancerClass;
  cluster.service.meta.labels["service.kubernetes.io/service-proxy-name"] = "x";
  EXPECT_EQ(reasons(cluster.translated()), "") << "3.10: skipped entirely";
}

TEST(TranslatePolicies, LocalIsToldToItsOwnerWhereClientsAddressesAreLost) {
  const auto change = [](const std::function<void(Cluster&)>& more) {
    return [=](Cluster& c) {
      c.loses_clients = true;
      c.service.external_traffic_policy = "Local";
      more(c);
    };
  };
  const std::string told = "ClientAddressNotPreserved";
  expect_rows(
      {{"3.3: FULL_NAT", change([](Cluster&) {}), told},
       {"3.3: by nodes too", change([](Cluster& c) { c.annotate(kDeliveryAnnotation, "node"); }),
        told},
       {"3.3: and of node ports", change([](Cluster& c) {
          c.become("NodePort");
          c.service.external_traffic_policy = "Local";
        }),
        told},
       {"3.3: Cluster asks for no such thing",
        change([](Cluster& c) { c.service.external_traffic_policy = "Cluster"; }), ""},
       {"2.3: nor does a service without an external address", change([](Cluster& c) {
          c.become("ClusterIP");
          c.settings.expose_cluster_ips = true;
        }),
        ""},
       {"3.3: with DNAT they are kept", change([](Cluster& c) { c.loses_clients = false; }), ""}},
      reasons);
}

TEST(TranslateIpMode, IsProxyWhereTheGatewayAloneReadsTheRanges) {
  struct Case {
    const char* claim;
    std::function<void(Cluster&)> change;
    const char* mode;
  };
  const Case cases[] = {
      {"3.2: VIP", [](Cluster&) {}, "VIP"},
      {"3.2: ranges by annotation", [](Cluster& c) { c.annotate(kRangesAnnotation, "10.0.0.0/8"); },
       "Proxy"},
      {"3.2: those of the field every proxy holds",
       [](Cluster& c) { c.service.source_ranges = {"10.0.0.0/8"}; }, "VIP"},
      {"2.5: the annotation counts only without the field",
       [](Cluster& c) {
         c.annotate(kRangesAnnotation, "10.0.0.0/8");
         c.service.source_ranges = {"10.0.0.0/8"};
       },
       "VIP"},
      {"an empty one is none", [](Cluster& c) { c.annotate(kRangesAnnotation, " "); }, "VIP"}};
  for (const auto& [claim, change, mode] : cases) {
    Cluster cluster;
    change(cluster);
    EXPECT_STREQ(ip_mode_of(cluster.service), mode) << claim;
  }
}

TEST(TranslateAnnotations, OfTheAdapterItselfAreNobodysWish) {
  Cluster cluster;
  cluster.annotate(kAssignedIpsAnnotation, "203.0.113.99");
  cluster.annotate(kProviderAnnotation, "prod");
  const Translation made = cluster.translated();
  EXPECT_EQ(findings(made), "");
  EXPECT_EQ(reach(made), "LoadBalancer vips=203.0.113.10");
  std::vector<Finding> found;
  EXPECT_EQ(requested_vips(cluster.service, found), std::vector<IpAddress>{});
}

std::string requested(const Cluster& cluster, std::vector<Finding>& found) {
  std::string text;
  const auto vips = requested_vips(cluster.service, found);
  if (!vips) {
    return "nothing";
  }
  for (const IpAddress& address : *vips) {
    text += (text.empty() ? "" : ",") + to_string(address);
  }
  return text;
}

TEST(TranslateRequestedVips, AreThoseOfTheAnnotationOrElseOfTheField) {
  const std::string annotation = kLoadBalancerIpsAnnotation;
  const std::vector<Row> rows{
      {"none", [](Cluster&) {}, ""},
      {"2.5: loadBalancerIP", [](Cluster& c) { c.service.load_balancer_ip = "203.0.113.9"; },
       "203.0.113.9"},
      {"2.5: the own annotation, of both families, in its order",
       [&](Cluster& c) { c.annotate(annotation, "2001:db8::9,203.0.113.9"); },
       "2001:db8::9,203.0.113.9"},
      {"spaces are trimmed", [&](Cluster& c) { c.annotate(annotation, " 203.0.113.9 , ::2 "); },
       "203.0.113.9,::2"},
      {"the annotation is the stronger one",
       [&](Cluster& c) {
         c.annotate(annotation, "203.0.113.8");
         c.service.load_balancer_ip = "203.0.113.9";
       },
       "203.0.113.8"},
      {"an empty annotation asks for nothing",
       [&](Cluster& c) {
         c.annotate(annotation, "");
         c.service.load_balancer_ip = "203.0.113.9";
       },
       "203.0.113.9"}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.claim);
    Cluster cluster;
    row.change(cluster);
    std::vector<Finding> found;
    EXPECT_EQ(requested(cluster, found), row.expected);
    EXPECT_TRUE(found.empty());
  }
}

TEST(TranslateRequestedVips, ThatAreNoAddressesAreToldByTheirField) {
  Cluster cluster;
  cluster.service.load_balancer_ip = "web.example.com";
  std::vector<Finding> found;
  EXPECT_EQ(requested(cluster, found), "nothing") << "and not any other address";
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].reason, "BadAddress");
  EXPECT_NE(found[0].message.find("loadBalancerIP"), std::string::npos) << found[0].message;
  EXPECT_NE(found[0].message.find("'web.example.com'"), std::string::npos) << found[0].message;

  found.clear();
  cluster.annotate(kLoadBalancerIpsAnnotation, "203.0.113.9,203.0.113.300");
  EXPECT_EQ(requested(cluster, found), "203.0.113.9") << "the other one can still be had";
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found[0].message.find(kLoadBalancerIpsAnnotation), std::string::npos)
      << "3.13: " << found[0].message;
}

TEST(TranslateRequestedVips, AreOneOfEachFamily) {
  Cluster cluster;
  std::vector<Finding> found;
  cluster.annotate(kLoadBalancerIpsAnnotation, "203.0.113.9,2001:db8::9,203.0.113.10,203.0.113.9");
  EXPECT_EQ(requested(cluster, found), "203.0.113.9,2001:db8::9,203.0.113.9");
  ASSERT_EQ(found.size(), 1U) << "3.11";
  EXPECT_EQ(found[0].reason, "BadAddress");
  EXPECT_NE(found[0].message.find("'203.0.113.10'"), std::string::npos) << found[0].message;
}

}  // namespace
}  // namespace sluice::kubernetes
