// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/session.h"
#include "tests/unit/controlplane/cli/fake_gateway.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

TEST(Expose, CreatesAServiceFromWords) {
  FakeGateway gateway;
  const Ran ran = gateway.run({"-n",
                               "shop",
                               "expose",
                               "deployment",
                               "web",
                               "--port",
                               "9090",
                               "--target-port",
                               "8443",
                               "--type",
                               "LoadBalancer",
                               "--load-balancer-ip",
                               "203.0.113.9",
                               "--external-ip",
                               "192.0.2.1",
                               "--node-port",
                               "31680",
                               "--backend",
                               "10.0.0.1",
                               "--backend",
                               "10.0.0.2:8444,weight=3",
                               "--backend",
                               "[2001:db8::1]:81",
                               "--backend",
                               "2001:db8::2"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out, "service/web exposed\n");
  const v1::ApplyRequest& request = gateway.applied.at(0);
  EXPECT_TRUE(request.create());
  EXPECT_EQ(request.provider(), "cli");
  const v1::Service& service = request.upsert(0);
  EXPECT_EQ(service.metadata().name(), "web");
  EXPECT_EQ(service.metadata().namespace_(), "shop");
  EXPECT_EQ(service.spec().type(), "LoadBalancer");
  EXPECT_EQ(service.spec().load_balancer_ip(), "203.0.113.9");
  EXPECT_EQ(service.spec().external_ips(0), "192.0.2.1");
  const v1::ServicePort& port = service.spec().ports(0);
  EXPECT_EQ(port.port(), 9090);
  EXPECT_EQ(port.target_port(), 8443);
  EXPECT_EQ(port.node_port(), 31680);
  ASSERT_EQ(service.spec().endpoints_size(), 4);
  EXPECT_TRUE(service.spec().endpoints(0).ports().empty());
  EXPECT_EQ(service.spec().endpoints(1).addresses(0), "10.0.0.2");
  EXPECT_EQ(service.spec().endpoints(1).ports().at(port.name()), 8444);
  EXPECT_EQ(service.spec().endpoints(1).weight(), 3U);
  EXPECT_EQ(service.spec().endpoints(2).addresses(0), "2001:db8::1");
  EXPECT_EQ(service.spec().endpoints(2).ports().at(port.name()), 81);
  EXPECT_EQ(service.spec().endpoints(3).addresses(0), "2001:db8::2");
}

void add(google::protobuf::RepeatedPtrField<v1::ServiceName>& names, const std::string& name,
         const std::string& name_space = "default") {
  auto* added = names.Add();
  added->set_name(name);
  added->set_namespace_(name_space);
}

TEST(Apply, SendsAllDocumentsOfAllFilesInOneTransaction) {
  FakeGateway gateway;
  const std::string one = gateway.write("one.yaml", manifest_of("a") + "---\n" + manifest_of("b"));
  const std::string two = gateway.write("two.yaml", manifest_of("c"));
  const Ran ran = gateway.run({"apply", "-f", one, "-f", two});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  ASSERT_EQ(gateway.applied.size(), 1U);
  const v1::ApplyRequest& request = gateway.applied[0];
  EXPECT_EQ(request.provider(), "cli");
  ASSERT_EQ(request.upsert_size(), 3);
  EXPECT_EQ(request.upsert(2).metadata().name(), "c");
  EXPECT_FALSE(request.replace());
  EXPECT_FALSE(request.dry_run());
  EXPECT_FALSE(request.has_expected_revision());
}

TEST(Apply, TellsWhatHappenedToEach) {
  FakeGateway gateway;
  add(*gateway.apply_response.mutable_created(), "a");
  add(*gateway.apply_response.mutable_changed(), "b", "shop");
  add(*gateway.apply_response.mutable_unchanged(), "c");
  add(*gateway.apply_response.mutable_deleted(), "d");
  gateway.apply_response.set_revision(4);
  gateway.apply_response.set_epoch(17);
  gateway.apply_response.set_publish_ns(420'000);
  const Ran ran = gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a"))});
  EXPECT_EQ(ran.out,
            "service/a created\n"
            "service/b configured in namespace shop\n"
            "service/c unchanged\n"
            "service/d deleted\n"
            "provider cli at revision 4; epoch 17 seen by every lcore in 0.42 ms\n");
  EXPECT_EQ(ran.err, "");
}

TEST(Apply, PassesItsOptionsOn) {
  FakeGateway gateway;
  add(*gateway.apply_response.mutable_created(), "a");
  gateway.apply_response.set_revision(3);
  const Ran ran =
      gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a")), "--replace",
                   "--dry-run", "--expected-revision", "3", "--provider", "me", "-n", "shop"});
  ASSERT_EQ(gateway.applied.size(), 1U);
  const v1::ApplyRequest& request = gateway.applied[0];
  EXPECT_TRUE(request.replace());
  EXPECT_TRUE(request.dry_run());
  EXPECT_EQ(request.expected_revision(), 3U);
  EXPECT_EQ(request.provider(), "me");
  EXPECT_EQ(request.upsert(0).metadata().namespace_(), "shop");
  EXPECT_EQ(ran.out,
            "service/a created (dry run)\n"
            "nothing was changed: provider me stays at revision 3\n");
}

TEST(Apply, PrintsTheAnswerForPrograms) {
  FakeGateway gateway;
  gateway.apply_response.set_revision(4);
  const std::string file = gateway.write("a.yaml", manifest_of("a"));
  EXPECT_EQ(gateway.run({"apply", "-f", file, "-o", "json"}).out, "{\n \"revision\": \"4\"\n}\n");
  EXPECT_EQ(gateway.run({"apply", "-f", file, "-o", "yaml"}).out, "revision: 4\n");
}

TEST(Apply, FaultsOfFormAndOfMeaningComeInOneAnswer) {
  FakeGateway gateway;
  gateway.apply_status =
      refusal(grpc::StatusCode::INVALID_ARGUMENT, "5 faults",
              {{"upsert[0].spec.loadBalancerIPs[0]", "'203.0.113.300' is not an IP address"},
               {"upsert[0].spec.ports[0].port", "0 is not a port"},
               {"upsert[0].spec.ports[2]", "the frontend 81/TCP is given twice"},
               {"upsert[0].spec.ports[3].port", "0 is not a port"},
               {"upsert[0].spec.endpoints[0].weight", "101 is out of range"}});
  const std::string file = gateway.write("bad.yaml", manifest_of("web",
                                                                 "spec:\n"
                                                                 "  prots: []\n"
                                                                 "  loadBalancerIPs:\n"
                                                                 "  - 203.0.113.300\n"
                                                                 "  ports:\n"
                                                                 "  - {name: a, port: 0}\n"
                                                                 "  - {name: b, port: 81}\n"
                                                                 "  - {name: c, port: 81}\n"
                                                                 "  - {name: d, port: http}\n"
                                                                 "  endpoints:\n"
                                                                 "  - addresses: [10.0.0.1]\n"
                                                                 "    weight: 101\n"));
  const Ran ran = gateway.run({"apply", "-f", file});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err,
            "error: the files have faults; nothing was changed\n" + file +
                ":6: document 1: spec.prots: unknown field; did you mean 'ports'?\n" + file +
                ":8: document 1: spec.loadBalancerIPs[0]: '203.0.113.300' is not an IP address\n" +
                file + ":10: document 1: spec.ports[0].port: 0 is not a port\n" + file +
                ":12: document 1: spec.ports[2]: the frontend 81/TCP is given twice\n" + file +
                ":13: document 1: spec.ports[3].port: expected a whole number, got the text "
                "'http'\n" +
                file + ":16: document 1: spec.endpoints[0].weight: 101 is out of range\n");
  ASSERT_EQ(gateway.applied.size(), 1U);
  EXPECT_TRUE(gateway.applied[0].dry_run());
}

TEST(Apply, FaultsOfFormAloneAreStillSentToBeLookedAt) {
  FakeGateway gateway;
  const std::string file = gateway.write("bad.yaml", manifest_of("web", "prots: 1\n"));
  const Ran ran = gateway.run({"apply", "-f", file});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_TRUE(gateway.applied.at(0).dry_run());
  EXPECT_NE(ran.err.find("document 1: prots: unknown field"), std::string::npos) << ran.err;
}

TEST(Apply, WithoutAGatewayFaultsOfFormAreToldAlone) {
  FakeGateway gateway;
  gateway.stop();
  const Ran ran =
      gateway.run({"apply", "-f", gateway.write("bad.yaml", manifest_of("web", "prots: 1\n"))});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_NE(ran.err.find("prots: unknown field"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("only faults of form are listed"), std::string::npos) << ran.err;
}

TEST(Apply, ARefusalIsPrintedWithFilesAndPaths) {
  FakeGateway gateway;
  gateway.apply_status =
      refusal(grpc::StatusCode::UNIMPLEMENTED, "a later version builds this",
              {{"upsert[1].spec.sessionAffinity", "'ClientIP' is not built yet; use 'None'"},
               {"provider", "is not a name"}});
  const std::string file =
      gateway.write("a.yaml", manifest_of("a") + "---\n" +
                                  manifest_of("b", "spec:\n  sessionAffinity: ClientIP\n"));
  const Ran ran = gateway.run({"apply", "-f", file});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(ran.err, "error: a later version builds this\n" + file +
                         ":11: document 2: spec.sessionAffinity: 'ClientIP' is not built yet; use "
                         "'None'\nprovider: is not a name\n");
}

TEST(Apply, AThousandFaultsArriveAll) {
  FakeGateway gateway;
  std::vector<std::pair<std::string, std::string>> violations;
  std::string ports = "spec:\n  ports:\n";
  for (int i = 0; i < 1000; ++i) {
    violations.emplace_back("upsert[0].spec.ports[" + std::to_string(i) + "].port",
                            "0 is not a port; use 1 to 65535");
    ports += "  - port: 0\n";
  }
  gateway.apply_status = refusal(grpc::StatusCode::INVALID_ARGUMENT, "1000 faults", violations);
  const Ran ran = gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a", ports))});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1001);
}

TEST(Apply, TheHolderOfAFrontendIsNamed) {
  FakeGateway gateway;
  gateway.apply_status = held_by_another();
  const Ran ran = gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a"))});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(ran.err,
            "error: a frontend is taken\n"
            "  frontend 203.0.113.10:80/TCP is held by cluster-a: default/web\n");
}

TEST(Apply, AWrongRevisionIsARefusal) {
  FakeGateway gateway;
  gateway.apply_status = {grpc::StatusCode::ABORTED, "the provider is at revision 5, not 3"};
  const Ran ran = gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a"))});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(ran.err, "error: the provider is at revision 5, not 3\n");
}

TEST(Apply, CommittedButNotConfirmedHasACodeOfItsOwn) {
  FakeGateway gateway;
  gateway.apply_status = committed_not_confirmed();
  const Ran ran = gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a"))});
  EXPECT_EQ(ran.code, kNotConfirmed);
  EXPECT_EQ(ran.err, "error: committed, lcore 1 not confirmed\n");
}

TEST(Apply, NoGatewayHasACodeOfItsOwn) {
  FakeGateway gateway;
  const std::string file = gateway.write("a.yaml", manifest_of("a"));
  gateway.stop();
  const Ran ran = gateway.run({"apply", "-f", file});
  EXPECT_EQ(ran.code, kUnreachable);
  EXPECT_NE(ran.err.find("error: no gateway answers at unix:"), std::string::npos) << ran.err;
}

TEST(Apply, AFileThatIsNotThereIsNamedAndNothingIsSent) {
  const FakeGateway gateway;
  const Ran ran = gateway.run({"apply", "-f", "/absent.yaml"});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_EQ(ran.err,
            "error: the files have faults; nothing was changed\n"
            "/absent.yaml: cannot be read: No such file or directory\n");
  EXPECT_TRUE(gateway.applied.empty());
}

TEST(Apply, ANamespaceThatContradictsTheOptionIsAFault) {
  FakeGateway gateway;
  const std::string file = gateway.write("a.yaml",
                                         "apiVersion: v1\nkind: Service\n"
                                         "metadata: {name: a, namespace: other}\n");
  const Ran ran = gateway.run({"apply", "-f", file, "-n", "shop"});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_NE(ran.err.find("metadata.namespace: 'other' is not the namespace of -n, 'shop'"),
            std::string::npos)
      << ran.err;
}

TEST(Delete, TakesNamesOrFiles) {
  FakeGateway gateway;
  add(*gateway.apply_response.mutable_deleted(), "a");
  EXPECT_EQ(gateway.run({"delete", "service", "a", "b", "-n", "shop"}).code, kOk);
  ASSERT_EQ(gateway.applied.size(), 1U);
  EXPECT_EQ(gateway.applied[0].delete__size(), 2);
  EXPECT_EQ(gateway.applied[0].delete_(1).name(), "b");
  EXPECT_EQ(gateway.applied[0].delete_(1).namespace_(), "shop");
  EXPECT_EQ(gateway.applied[0].upsert_size(), 0);

  const Ran ran = gateway.run({"delete", "-f", gateway.write("a.yaml", manifest_of("a"))});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(gateway.applied[1].delete_(0).name(), "a");
  EXPECT_TRUE(ran.out.starts_with("service/a deleted\n")) << ran.out;
}

TEST(Apply, ThatChangesNothingSaysSo) {
  FakeGateway gateway;
  add(*gateway.apply_response.mutable_unchanged(), "a");
  gateway.apply_response.set_revision(4);
  const Ran ran = gateway.run({"apply", "-f", gateway.write("a.yaml", manifest_of("a"))});
  EXPECT_EQ(ran.out, "service/a unchanged\nprovider cli stays at revision 4\n");
}

TEST(Apply, AMessageThatRepeatsTheFirstFaultIsNotPrinted) {
  FakeGateway gateway;
  gateway.apply_status = refusal(grpc::StatusCode::INVALID_ARGUMENT,
                                 "upsert[0].metadata.name: 'A' is no name (and 0 more)",
                                 {{"upsert[0].metadata.name", "'A' is no name"}});
  const std::string file = gateway.write("a.yaml", manifest_of("A"));
  const Ran ran = gateway.run({"apply", "-f", file});
  EXPECT_EQ(ran.err, "error: the gateway refused it; nothing was changed\n" + file +
                         ":4: document 1: metadata.name: 'A' is no name\n");
}

TEST(Delete, NamesTheServicesThatAreNotThere) {
  FakeGateway gateway;
  gateway.apply_status = refusal(grpc::StatusCode::NOT_FOUND, "provider 'cli' has no service b",
                                 {{"delete[1]", "no such service"}});
  EXPECT_EQ(gateway.run({"delete", "service", "a", "b"}).err,
            "error: provider 'cli' has no service b\n  service/b: no such service\n");
}

TEST(Delete, OfAServiceThatIsNotThereIsARefusal) {
  FakeGateway gateway;
  gateway.apply_status = {grpc::StatusCode::NOT_FOUND, "there is no service 'default/a'"};
  const Ran ran = gateway.run({"delete", "service/a"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(ran.err, "error: there is no service 'default/a'\n");
}

}  // namespace
}  // namespace sluice::cli
