// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/session.h"
#include "controlplane/manifest/manifest.h"
#include "tests/unit/controlplane/cli/fake_gateway.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

void add_service(FakeGateway& gateway, const std::string& name) {
  auto* entry = gateway.services.add_services();
  entry->set_provider("cli");
  auto* service = entry->mutable_service();
  service->mutable_metadata()->set_name(name);
  service->mutable_metadata()->set_namespace_("default");
  service->mutable_spec()->set_type("LoadBalancer");
  service->mutable_spec()->add_load_balancer_ips("203.0.113.10");
  service->mutable_spec()->add_ports()->set_port(80);
}

TEST(GetServices, PrintsATable) {
  FakeGateway gateway;
  add_service(gateway, "web");
  const Ran ran = gateway.run({"get", "services"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(
      ran.out,
      "NAME   TYPE           CLUSTER-IP   EXTERNAL-IP    PORT(S)   AGE      BACKENDS   STATE\n"
      "web    LoadBalancer   <none>       203.0.113.10   80/TCP    <none>   0/0        "
      "NotServed\n");
  EXPECT_EQ(gateway.services_request.namespace_(), "default");
}

TEST(GetServices, AsksForTheNamespaceAndProviderOfTheOptions) {
  FakeGateway gateway;
  EXPECT_EQ(gateway.run({"get", "svc", "-n", "shop", "--provider", "p"}).code, kOk);
  EXPECT_EQ(gateway.services_request.namespace_(), "shop");
  EXPECT_EQ(gateway.services_request.provider(), "p");
  const Ran ran = gateway.run({"get", "svc", "-A"});
  EXPECT_EQ(gateway.services_request.namespace_(), "");
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "no services found\n");
}

TEST(GetServices, PicksByName) {
  FakeGateway gateway;
  add_service(gateway, "web");
  add_service(gateway, "db");
  add_service(gateway, "status");
  const Ran ran = gateway.run({"get", "services", "db", "status", "-o", "name"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(ran.out, "service/db\nservice/status\n");
  const Ran absent = gateway.run({"get", "services", "db", "absent", "-o", "name"});
  EXPECT_EQ(absent.code, kRefused);
  EXPECT_EQ(absent.out, "service/db\n");
  EXPECT_EQ(absent.err, "error: there is no service 'absent'\n");
}

TEST(GetServices, OneByNameIsAManifestThatCanBeAppliedAgain) {
  FakeGateway gateway;
  add_service(gateway, "web");
  for (const char* output : {"yaml", "json"}) {
    const Ran ran = gateway.run({"get", "service", "web", "-o", output});
    EXPECT_EQ(ran.code, kOk);
    const manifest::Documents read = manifest::read_documents(ran.out);
    EXPECT_TRUE(read.faults.empty()) << ran.out;
    ASSERT_EQ(read.documents.size(), 1U) << ran.out;
    EXPECT_EQ(read.documents[0].service.metadata().name(), "web");
  }
  const Ran absent = gateway.run({"get", "service", "absent", "-o", "json"});
  EXPECT_EQ(absent.code, kRefused);
  EXPECT_EQ(absent.err, "error: there is no service 'default/absent'\n");
  EXPECT_EQ(absent.out, "");
}

TEST(GetServices, AllOfThemAreTheMessageOfTheApi) {
  FakeGateway gateway;
  add_service(gateway, "web");
  v1::ListServicesResponse read;
  EXPECT_TRUE(manifest::read_text(gateway.run({"get", "svc", "-o", "json"}).out, read).empty());
  EXPECT_EQ(read.SerializeAsString(), gateway.services.SerializeAsString());
}

TEST(GetBackends, AreOfOneServiceOrOfAll) {
  FakeGateway gateway;
  auto* backend = gateway.backends.add_backends();
  backend->set_address("10.10.0.11");
  backend->set_port(80);
  backend->set_state("draining");
  backend->set_reason("not ready");
  const Ran ran = gateway.run({"get", "backends", "web"});
  EXPECT_EQ(gateway.backends_request.service().name(), "web");
  EXPECT_EQ(gateway.backends_request.service().namespace_(), "default");
  EXPECT_NE(ran.out.find("10.10.0.11:80"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("not ready"), std::string::npos) << ran.out;
  EXPECT_EQ(gateway.run({"get", "be", "-A"}).code, kOk);
  EXPECT_EQ(gateway.backends_request.service().name(), "");
  EXPECT_EQ(gateway.backends_request.service().namespace_(), "");
}

TEST(Flows, ListIsGetFlowsByAnotherName) {
  FakeGateway gateway;
  gateway.flows.add_flows()->set_client("192.0.2.2:40000");
  const Ran ran = gateway.run({"flows", "list", "--client", "192.0.2.2", "--state", "closing"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(gateway.flows_request.client(), "192.0.2.2");
  EXPECT_EQ(gateway.flows_request.state(), "closing");
  EXPECT_NE(ran.out.find("192.0.2.2:40000"), std::string::npos) << ran.out;
}

TEST(Flows, DeletePassesItsFiltersOnAndTellsHowMany) {
  FakeGateway gateway;
  gateway.deleted_flows.set_deleted(1);
  const Ran ran =
      gateway.run({"flows", "delete", "--client", "192.0.2.2", "--backend", "10.10.0.11",
                   "--service", "web", "--provider", "k8s", "--state", "half_open"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out, "1 flow deleted\n");
  const v1::DeleteFlowsRequest& asked = gateway.delete_flows_request;
  EXPECT_EQ(asked.client(), "192.0.2.2");
  EXPECT_EQ(asked.backend(), "10.10.0.11");
  EXPECT_EQ(asked.service().name(), "web");
  EXPECT_EQ(asked.service().namespace_(), "default");
  EXPECT_EQ(asked.provider(), "k8s");
  EXPECT_EQ(asked.state(), "half_open");
  EXPECT_FALSE(asked.all());
  gateway.deleted_flows.set_deleted(7);
  EXPECT_EQ(gateway.run({"flows", "delete", "--all"}).out, "7 flows deleted\n");
  EXPECT_TRUE(gateway.delete_flows_request.all());
  EXPECT_FALSE(gateway.delete_flows_request.has_service());
}

TEST(Flows, DeleteWantsAFilterOrAllAndNotBoth) {
  FakeGateway gateway;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"flows", "delete"},
        {"flows", "delete", "--all", "--service", "web"},
        {"flows", "delete", "--client", "192.0.2.2", "--limit", "3"},
        {"flows", "list", "--all"},
        {"flows", "drop"},
        {"flows"}}) {
    EXPECT_EQ(gateway.run(words).code, kUsage);
  }
}

TEST(GetFlows, PassesItsFiltersOn) {
  FakeGateway gateway;
  gateway.flows.add_flows()->set_client("192.0.2.2:40000");
  gateway.flows.set_truncated(true);
  const Ran ran = gateway.run({"get", "flows", "--client", "192.0.2.2", "--backend", "10.10.0.11",
                               "--service", "web", "--limit", "1"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(gateway.flows_request.client(), "192.0.2.2");
  EXPECT_EQ(gateway.flows_request.backend(), "10.10.0.11");
  EXPECT_EQ(gateway.flows_request.service().name(), "web");
  EXPECT_EQ(gateway.flows_request.limit(), 1U);
  EXPECT_NE(ran.out.find("192.0.2.2:40000"), std::string::npos);
  EXPECT_EQ(ran.err, "there are more; see --limit\n");
}

TEST(GetDrops, HidesWhatNeverHappened) {
  FakeGateway gateway;
  gateway.drops.add_drops()->set_reason("quiet");
  EXPECT_EQ(gateway.run({"get", "drops"}).out, "");
  EXPECT_NE(gateway.run({"get", "drops", "-o", "wide"}).out.find("quiet"), std::string::npos);
  EXPECT_NE(gateway.run({"get", "drops", "quiet"}).out.find("quiet"), std::string::npos);
  EXPECT_EQ(gateway.run({"get", "drops", "absent"}).code, kRefused);
}

TEST(GetPorts, OneByNameIsASingleObject) {
  FakeGateway gateway;
  gateway.ports.add_ports()->set_name("wan0");
  gateway.ports.add_ports()->set_name("lan0");
  EXPECT_EQ(gateway.run({"get", "port", "lan0", "-o", "json"}).out, "{\n \"name\": \"lan0\"\n}\n");
  EXPECT_EQ(gateway.run({"get", "ports", "-o", "yaml"}).out,
            "ports:\n- name: wan0\n- name: lan0\n");
}

TEST(GetProviders, PrintsATable) {
  FakeGateway gateway;
  auto* provider = gateway.providers.add_providers();
  provider->set_name("cli");
  provider->set_revision(4);
  EXPECT_EQ(gateway.run({"get", "providers"}).out,
            "NAME   REVISION   SERVICES   ADDRESSES   FRONTENDS   FLOWS   SNAT-PORTS\n"
            "cli    4          0          0           0           -       -\n");
}

TEST(GetProviders, PrintsWhatIsUsedOfAQuotaAndWideOfItsNamespaces) {
  FakeGateway gateway;
  auto* provider = gateway.providers.add_providers();
  provider->set_name("west");
  provider->set_services(3);
  provider->set_addresses(2);
  provider->set_frontends(7);
  provider->mutable_quota()->set_services(10);
  provider->mutable_quota()->set_frontends(7);
  provider->set_flows(40);
  provider->mutable_quota()->set_flows(100);
  provider->set_snat_ports(30);
  auto* shop = provider->add_namespaces();
  shop->set_namespace_("shop");
  shop->set_addresses(1);
  shop->mutable_quota()->set_addresses(4);
  shop->mutable_quota()->set_snat_ports(5);
  EXPECT_EQ(gateway.run({"get", "providers"}).out,
            "NAME   REVISION   SERVICES   ADDRESSES   FRONTENDS   FLOWS    SNAT-PORTS\n"
            "west   0          3/10       2           7/7         40/100   30\n");
  EXPECT_EQ(gateway.run({"get", "providers", "-o", "wide"}).out,
            "NAME   NAMESPACE   REVISION   SERVICES   ADDRESSES   FRONTENDS   FLOWS    SNAT-PORTS\n"
            "west   <all>       0          3/10       2           7/7         40/100   30\n"
            "west   shop        0          0          1/4         0           0        0/5\n");
}

TEST(GetPools, PrintsATableAndOneByName) {
  FakeGateway gateway;
  for (const char* name : {"lb", "reserved"}) {
    auto* pool = gateway.pools.add_pools();
    pool->set_name(name);
    pool->add_addresses("203.0.113.0-203.0.113.15");
    pool->add_addresses("2001:db8::-2001:db8::f");
    pool->set_in_use(3);
    pool->set_auto_assign(pool->name() == "lb");
  }
  EXPECT_EQ(gateway.run({"get", "pools"}).out,
            "NAME       ADDRESSES                                         IN-USE   AUTO-ASSIGN\n"
            "lb         203.0.113.0-203.0.113.15,2001:db8::-2001:db8::f   3        yes\n"
            "reserved   203.0.113.0-203.0.113.15,2001:db8::-2001:db8::f   3        no\n");
  EXPECT_EQ(gateway.run({"get", "pools", "lb", "-o", "name"}).out, "pool/lb\n");
  EXPECT_EQ(gateway.run({"get", "pools", "other"}).code, kRefused);
}

TEST(Watch, PrintsTheListingThenEveryChange) {
  FakeGateway gateway;
  add_service(gateway, "web");
  for (const auto type : {v1::ServiceEvent::ADDED, v1::ServiceEvent::SYNCED,
                          v1::ServiceEvent::MODIFIED, v1::ServiceEvent::DELETED}) {
    v1::ServiceEvent event;
    event.set_type(type);
    if (type != v1::ServiceEvent::SYNCED) {
      *event.mutable_entry() = gateway.services.services(0);
    }
    gateway.events.push_back(event);
  }
  const Ran ran = gateway.run({"get", "services", "-w"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_TRUE(ran.out.starts_with("EVENT   NAME   TYPE")) << ran.out;
  EXPECT_NE(ran.out.find("\nADDED   web    LoadBalancer"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nMODIFIED   web    LoadBalancer"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nDELETED   web    LoadBalancer"), std::string::npos) << ran.out;
  EXPECT_EQ(gateway.run({"get", "svc", "-w", "-o", "name"}).out,
            "service/web\nservice/web\nservice/web\n");
}

TEST(Status, IsTextOrTheMessage) {
  FakeGateway gateway;
  gateway.gateway_status.set_name("edge-1");
  gateway.gateway_status.set_version("0.1.0");
  EXPECT_NE(gateway.run({"status"}).out.find("edge-1"), std::string::npos);
  EXPECT_EQ(gateway.run({"status", "-o", "yaml"}).out, "name: edge-1\nversion: 0.1.0\n");
  EXPECT_NE(gateway.run({"version"}).out.find("sluiced   0.1.0 (edge-1)\n"), std::string::npos);
}

TEST(Status, IsRefusedUntilTheProviderHasWritten) {
  FakeGateway gateway;
  Ran ran = gateway.run({"status", "--provider", "east"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.err.find("'east' has written nothing yet"), std::string::npos) << ran.err;
  v1::Provider& provider = *gateway.providers.add_providers();
  provider.set_name("east");
  EXPECT_EQ(gateway.run({"status", "--provider", "east"}).code, kRefused) << "at no revision";
  provider.set_revision(1);
  EXPECT_EQ(gateway.run({"status", "--provider", "east"}).code, kOk);
  EXPECT_EQ(gateway.run({"status", "--provider", "west"}).code, kRefused);
  EXPECT_EQ(gateway.run({"status"}).code, kOk);
}

TEST(Explain, SendsBothEndsAndTheProtocol) {
  FakeGateway gateway;
  gateway.explanation.set_verdict("drop");
  gateway.explanation.set_drop_reason("no_service_port");
  const Ran ran = gateway.run({"explain", "--from", "192.0.2.2:40000", "--to", "203.0.113.10:81",
                               "--protocol", "udp", "--port", "wan0"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(gateway.explain_request.source(), "192.0.2.2:40000");
  EXPECT_EQ(gateway.explain_request.destination(), "203.0.113.10:81");
  EXPECT_EQ(gateway.explain_request.protocol(), "UDP");
  EXPECT_EQ(gateway.explain_request.port(), "wan0");
  EXPECT_NE(ran.out.find("drop: no_service_port"), std::string::npos);
}

TEST(EveryCommand, TellsWhenNoGatewayAnswers) {
  FakeGateway gateway;
  gateway.stop();
  const std::vector<std::vector<std::string>> commands = {
      {"get", "services"},
      {"get", "service", "web", "-o", "json"},
      {"get", "backends"},
      {"get", "ports"},
      {"get", "flows"},
      {"get", "drops"},
      {"get", "providers"},
      {"get", "services", "-w"},
      {"get", "pools"},
      {"status"},
      {"version"},
      {"explain", "a", "b"},
      {"delete", "service", "web"},
  };
  for (const auto& words : commands) {
    const Ran ran = gateway.run(words);
    EXPECT_EQ(ran.code, kUnreachable) << words[0] << " " << words.back();
    EXPECT_NE(ran.err.find("no gateway answers at"), std::string::npos) << ran.err;
  }
}

TEST(EveryCommand, RefusesAnAddressOnTcpWithoutCertificates) {
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(run({"--server", "127.0.0.1:80", "status"}, out, err), kUsage);
  EXPECT_NE(err.str().find("over TCP a certificate authority is needed"), std::string::npos)
      << err.str();
}

}  // namespace
}  // namespace sluice::cli
