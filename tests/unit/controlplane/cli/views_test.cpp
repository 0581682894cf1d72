// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/views.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::cli {
namespace {

const Time kNow = Time(std::chrono::seconds(1'000'000));

v1::ServiceEntry entry() {
  v1::ServiceEntry result;
  result.set_provider("cli");
  v1::Service& service = *result.mutable_service();
  service.mutable_spec()->set_type("LoadBalancer");
  service.mutable_spec()->add_cluster_ips("10.96.0.7");
  service.mutable_spec()->add_external_ips("192.0.2.33");
  service.mutable_metadata()->set_name("web");
  service.mutable_metadata()->mutable_creation_timestamp()->set_seconds(999'700);
  auto* port = service.mutable_spec()->add_ports();
  port->set_port(80);
  port->set_target_port(8080);
  auto* dns = service.mutable_spec()->add_ports();
  dns->set_port(53);
  dns->set_protocol("UDP");
  for (const char* address : {"203.0.113.10", "2001:db8:113::10"}) {
    auto* frontend = service.mutable_status()->add_frontends();
    frontend->set_address(address);
    frontend->set_served(true);
    service.mutable_status()->mutable_load_balancer()->add_ingress()->set_ip(address);
    service.mutable_status()->add_frontends()->CopyFrom(*frontend);
  }
  for (const char* state : {"active", "active", "draining"}) {
    service.mutable_status()->add_endpoints()->set_state(state);
  }
  return result;
}

TEST(ServiceRow, ShowsWhatIsServedWhere) {
  EXPECT_EQ(service_row(entry(), {}, kNow),
            (Row{"web", "LoadBalancer", "10.96.0.7", "203.0.113.10,2001:db8:113::10,192.0.2.33",
                 "80/TCP,53/UDP", "5m", "2/3", "Serving"}));
  for (const ServiceColumns columns : {ServiceColumns{true, true}, {true, false}, {false, true}}) {
    EXPECT_EQ(service_row(entry(), columns, kNow).size(), service_header(columns).size());
  }
  EXPECT_EQ(service_header({false, true})[0], "NAMESPACE");
  EXPECT_EQ(service_row(entry(), {false, true}, kNow)[0], "default");
}

TEST(ServiceRow, SaysByWhichWayItsProviderDeliversAndWhatItReports) {
  v1::ServiceEntry told = entry();
  v1::Forwarding& forwarding = *told.mutable_service()->mutable_spec()->mutable_forwarding();
  forwarding.set_delivery("node");
  forwarding.set_delivery_reason("no route to 10.1.0.7");
  told.mutable_report()->set_reason("BadAnnotation");
  told.mutable_report()->set_message("it is ignored");
  const Row row = service_row(told, {true, false}, kNow);
  const Row header = service_header({true, false});
  const auto column = std::find(header.begin(), header.end(), "DELIVERY") - header.begin();
  EXPECT_EQ(row[static_cast<std::size_t>(column)], "node (no route to 10.1.0.7)");
  EXPECT_EQ(row.back(), "Serving; BadAnnotation: it is ignored");
}

TEST(ServiceRow, AServiceThatTheGatewayWasNotAskedForHasARowThatSaysWhy) {
  v1::ListServicesResponse response;
  v1::ServiceEntry& unserved = *response.add_unserved();
  unserved.set_provider("east");
  unserved.mutable_service()->mutable_metadata()->set_name("shop");
  unserved.mutable_service()->mutable_metadata()->set_namespace_("prod");
  unserved.mutable_report()->set_reason("AddressPending");
  unserved.mutable_report()->set_message("no address is free");
  for (const ServiceColumns columns : {ServiceColumns{true, true}, {true, false}, {false, true}}) {
    const Table table = table_of(response, columns, kNow);
    ASSERT_EQ(table.rows.size(), 1U);
    const Row& row = table.rows[0];
    ASSERT_EQ(row.size(), table.header.size());
    EXPECT_EQ(row.back(), "NotServed: AddressPending: no address is free");
    EXPECT_EQ(row[0], columns.namespaces ? "prod" : "shop");
    if (columns.wide) {
      const auto at = std::find(table.header.begin(), table.header.end(), "PROVIDER");
      EXPECT_EQ(row[static_cast<std::size_t>(at - table.header.begin())], "east");
    }
  }
}

TEST(ServiceRow, WithoutAddressesSaysNone) {
  v1::ServiceEntry bare;
  const Row row = service_row(bare, {}, kNow);
  EXPECT_EQ(row[1], "ClusterIP");
  EXPECT_EQ(row[2], "<none>");
  EXPECT_EQ(row[3], "<none>");
}

TEST(ServiceRow, GivesTheReasonWhenNotAllIsServed) {
  v1::ServiceEntry partly = entry();
  auto* frontend = partly.mutable_service()->mutable_status()->mutable_frontends(2);
  frontend->set_served(false);
  frontend->set_reason("no usable endpoint of this family");
  EXPECT_EQ(service_row(partly, {}, kNow)[7], "Serving 3 of 4: no usable endpoint of this family");

  v1::ServiceEntry none = entry();
  none.mutable_service()->mutable_status()->clear_frontends();
  none.mutable_service()->mutable_status()->clear_load_balancer();
  none.mutable_service()->mutable_spec()->clear_external_ips();
  auto* condition = none.mutable_service()->mutable_status()->add_conditions();
  condition->set_type("Serving");
  condition->set_status("False");
  condition->set_reason("NoEndpoints");
  none.mutable_service()->mutable_spec()->add_load_balancer_ips("203.0.113.9");
  EXPECT_EQ(service_row(none, {}, kNow)[7], "NotServed: NoEndpoints");
  EXPECT_EQ(service_row(none, {}, kNow)[3], "203.0.113.9");
}

TEST(ServiceRow, WhoWaitsForAnAddressIsPendingWithTheReason) {
  v1::ServiceEntry waiting = entry();
  waiting.mutable_service()->mutable_status()->clear_frontends();
  waiting.mutable_service()->mutable_status()->clear_load_balancer();
  waiting.mutable_service()->mutable_spec()->clear_external_ips();
  auto* condition = waiting.mutable_service()->mutable_status()->add_conditions();
  condition->set_type("AddressesAssigned");
  condition->set_status("False");
  condition->set_message("no free IPv4 address in pool 'lb'");
  EXPECT_EQ(service_row(waiting, {}, kNow)[3], "<pending>");
  EXPECT_EQ(service_row(waiting, {}, kNow)[7], "NotServed: no free IPv4 address in pool 'lb'");
}

TEST(ServiceRow, WithoutStatusCountsTheEndpointsOfTheSpec) {
  v1::ServiceEntry bare;
  bare.mutable_service()->mutable_spec()->add_endpoints();
  EXPECT_EQ(service_row(bare, {}, kNow)[6], "0/1");
}

TEST(Drops, AreShownWhenTheyHappenedOrWhenWide) {
  v1::ListDropsResponse response;
  response.add_drops()->set_reason("bad_checksum");
  auto* happened = response.add_drops();
  happened->set_reason("no_route");
  happened->set_packets(7);
  happened->set_answered(2);
  happened->set_description("no route to the backend");
  EXPECT_EQ(table_of(response, false).rows,
            (std::vector<Row>{{"no_route", "7", "2", "no route to the backend"}}));
  EXPECT_EQ(table_of(response, true).rows.size(), 2U);
}

TEST(Backends, OfIpv6StandInBrackets) {
  v1::ListBackendsResponse response;
  auto* backend = response.add_backends();
  backend->mutable_service()->set_name("web");
  backend->set_service_port("http");
  backend->set_protocol("TCP");
  backend->set_address("2001:db8:10::11");
  backend->set_port(80);
  backend->set_weight(1);
  backend->set_state("active");
  const Table table = table_of(response, false);
  EXPECT_EQ(table.rows[0], (Row{"default", "web", "http/TCP", "[2001:db8:10::11]:80", "1", "active",
                                "0", "0", ""}));
}

TEST(Tables, HaveACellForEveryColumn) {
  v1::ListBackendsResponse backends;
  backends.add_backends();
  v1::ListPortsResponse ports;
  ports.add_ports();
  v1::ListFlowsResponse flows;
  flows.add_flows();
  v1::ListProvidersResponse providers;
  providers.add_providers();
  for (const bool wide : {false, true}) {
    for (const Table& table : {table_of(backends, wide), table_of(ports, wide),
                               table_of(flows, wide), table_of(providers, wide)}) {
      EXPECT_EQ(table.rows[0].size(), table.header.size()) << table.header[0] << wide;
    }
  }
}

TEST(Ports, TellLinkSpeedAndSteering) {
  v1::ListPortsResponse response;
  auto* port = response.add_ports();
  port->set_name("wan0");
  port->set_link_up(true);
  port->set_speed_mbps(10'000);
  port->set_steering("single queue");
  const Table table = table_of(response, false);
  EXPECT_EQ(table.rows[0][1], "up 10000M");
  EXPECT_EQ(table.rows[0].back(), "single queue");
}

TEST(Ports, TellWhatTheDeviceWasAskedForAndWhatItSaid) {
  v1::ListPortsResponse response;
  auto* port = response.add_ports();
  port->set_hashes_equal(250);
  port->set_hashes_different(6);
  auto* key = port->add_requests();
  key->set_what("rss key, 40 bytes");
  key->set_accepted(true);
  auto* rules = port->add_requests();
  rules->set_what("queue rules");
  rules->set_answer("Function not implemented");
  const Table table = table_of(response, true);
  const auto cell = [&](const char* column) {
    const auto found = std::find(table.header.begin(), table.header.end(), column);
    return table.rows[0].at(static_cast<std::size_t>(found - table.header.begin()));
  };
  EXPECT_EQ(cell("ACCEPTED"), "rss key, 40 bytes");
  EXPECT_EQ(cell("REFUSED"), "queue rules (Function not implemented)");
  EXPECT_EQ(cell("HASHES"), "250/256");
}

TEST(Explain, NamesEverythingOfALiveFlow) {
  v1::ExplainResponse response;
  response.set_verdict("forward");
  response.set_live_flow(true);
  response.set_flow_state("established");
  response.set_direction("from client");
  response.set_provider("cli");
  response.mutable_service()->set_namespace_("shop");
  response.mutable_service()->set_name("web");
  response.set_service_port("http");
  response.set_frontend("203.0.113.10:80");
  response.set_backend("10.10.0.11:80");
  response.set_backend_state("active");
  response.set_snat("10.10.0.100:40000");
  response.set_lcore(1);
  response.set_next_hop("10.10.0.11 at 02:00:00:00:00:01 via lan0");
  response.add_steps("parse: IPv4 TCP");
  EXPECT_EQ(text_of(response),
            "Verdict:         forward\n"
            "Flow:            live, established\n"
            "Direction:       from client\n"
            "Service:         shop/web, port http (provider cli)\n"
            "Frontend:        203.0.113.10:80\n"
            "Backend:         10.10.0.11:80 (active)\n"
            "SNAT:            10.10.0.100:40000\n"
            "Lcore:           1\n"
            "Next hop:        10.10.0.11 at 02:00:00:00:00:01 via lan0\n"
            "Steps:\n"
            "  parse: IPv4 TCP\n");
}

TEST(Explain, GivesTheReasonOfADrop) {
  v1::ExplainResponse response;
  response.set_verdict("drop");
  response.set_drop_reason("no_service_port");
  const std::string text = text_of(response);
  EXPECT_NE(text.find("drop: no_service_port\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("SNAT"), std::string::npos) << text;
}

TEST(Status, IsReadableByPeople) {
  v1::GatewayStatus status;
  status.set_name("edge-1");
  status.mutable_started()->set_seconds(999'990);
  status.set_publish_p50_ns(150'000);
  status.set_publish_p99_ns(420'000);
  status.set_publish_max_ns(1'000'000);
  status.set_flows_ipv4_max(1000);
  auto* lcore = status.add_lcores();
  lcore->set_lcore(1);
  lcore->set_busy_permille(257);
  status.set_idle("sleeps up to 100 us");
  lcore->set_flows_ipv4(3);
  const std::string text = text_of(status, kNow);
  for (const char* part : {"edge-1", "10s", "p50 0.15 ms, p99 0.42 ms, max 1.00 ms", "3 of 1000",
                           "25.7%", "sleeps up to 100 us"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(NameText, CarriesTheNamespaceUnlessItIsTheDefault) {
  v1::ServiceName name;
  name.set_name("web");
  EXPECT_EQ(text_of(name), "web");
  name.set_namespace_("default");
  EXPECT_EQ(text_of(name), "web");
  name.set_namespace_("shop");
  EXPECT_EQ(text_of(name), "shop/web");
}

}  // namespace
}  // namespace sluice::cli
