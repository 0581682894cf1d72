// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/config.h"

#include <gtest/gtest.h>

#include <functional>

namespace sluice::model {
namespace {

ConfigInput good() {
  ConfigInput input;
  input.ports.resize(2);
  input.ports[0].name = "wan0";
  input.ports[0].device = "net_af_packet0,iface=eth1";
  input.ports[1].name = "lan0";
  input.ports[1].device = "0000:03:00.1";
  input.snat = {{"10.0.0.100", ""}, {"2001:db8:10::100", "2000-3000"}};
  input.address_pools = {{"lb", {"203.0.113.0/28"}, {}, false, {}, {}, {}},
                         {"more", {"198.51.100.0/24"}, {}, false, {}, {}, {}}};
  return input;
}

TEST(Config, DefaultsAreThoseOfTheProto) {
  const auto config = validate(good(), 2);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->lcores, std::vector<unsigned>{1});
  EXPECT_EQ(config->memory_bytes, 512ULL << 20U);
  EXPECT_EQ(config->idle_sleep_us, 0U);
  EXPECT_EQ(config->socket_path, "/run/sluice/sluice.sock");
  EXPECT_EQ(config->ports[0].mtu, 1500);
  EXPECT_TRUE(config->ports[0].twin);
  EXPECT_EQ(config->snat[0].port_begin, 1024U);
  EXPECT_EQ(config->snat[0].port_end, 65'536U);
  EXPECT_EQ(config->snat[1].port_begin, 2000U);
  EXPECT_EQ(config->snat[1].port_end, 3001U);
  EXPECT_EQ(validate(good(), 1)->lcores, std::vector<unsigned>{0}) << "one CPU has number 0";
}

struct Case {
  const char* path;
  std::function<void(ConfigInput&)> change;
};

TEST(Config, EveryRuleNamesTheSettingThatBreaksIt) {
  const std::vector<Case> cases{
      {"dataplane.memory", [](auto& c) { c.memory = "512"; }},
      {"dataplane.memory", [](auto& c) { c.memory = "lots"; }},
      {"dataplane.idleSleep", [](auto& c) { c.idle_sleep = "1ms"; }},
      {"dataplane.idleSleep", [](auto& c) { c.idle_sleep = "100"; }},
      {"dataplane.idleWait", [](auto& c) { c.idle_wait = "sleep"; }},
      {"dataplane.idleWait",
       [](auto& c) {
         c.idle_sleep = "10us";
         c.idle_wait = "doze";
       }},
      {"dnsServers[1]",
       [](auto& c) {
         c.dns_servers = {"192.0.2.53", "ns.example.com"};
       }},
      {"dnsServers[0]", [](auto& c) { c.dns_servers = {"192.0.2.53:0"}; }},
      {"announce", [](auto& c) { c.announce = "bgp"; }},
      {"providers[0].name", [](auto& c) { c.providers = {{.name = ""}}; }},
      {"announceTable",
       [](auto& c) {
         c.announce = "routes";
         c.announce_table = 254;
       }},
      {"announceTable", [](auto& c) { c.announce_table = 5'533; }},
      {"role", [](auto& c) { c.role = "master"; }},
      {"nodePortRange", [](auto& c) { c.node_port_range = "32767-30000"; }},
      {"nodePortAddresses[0]", [](auto& c) { c.node_port_addresses = {"192.0.2.1/24"}; }},
      {"nodeAddresses[1]",
       [](auto& c) {
         c.node_addresses = {"10.0.0.7", "node-1"};
       }},
      {"nodeAddresses[0]", [](auto& c) { c.node_addresses = {"10.0.0.100"}; }},
      {"captureNodeAddresses", [](auto& c) { c.capture_node_addresses = true; }},
      {"dataplane.flowsIpv4", [](auto& c) { c.flows_ipv4 = 1; }},
      {"dataplane.flowsIpv6", [](auto& c) { c.flows_ipv6 = 200'000'000; }},
      {"dataplane.bindings", [](auto& c) { c.bindings = 1U << 24U; }},
      {"dataplane.servicePorts", [](auto& c) { c.service_ports = 3; }},
      {"ports", [](auto& c) { c.ports.clear(); }},
      {"ports[0].name", [](auto& c) { c.ports[0].name = "a-name-that-is-too-long"; }},
      {"ports[0].name", [](auto& c) { c.ports[0].name = "a b"; }},
      {"ports[1].name", [](auto& c) { c.ports[1].name = "wan0"; }},
      {"ports[0].name", [](auto& c) { c.ports[0].name = "wan%d"; }},
      {"ports[0].name", [](auto& c) { c.ports[0].name = ".."; }},
      {"ports[1].device", [](auto& c) { c.ports[1].device = ""; }},
      {"ports[1].device", [](auto& c) { c.ports[1].device = "eth1"; }},
      {"ports[1].device", [](auto& c) { c.ports[1].device = "net_tap 1"; }},
      {"ports[1].device", [](auto& c) { c.ports[1].device = "net_af_packet0,iface=eth2"; }},
      {"ports[0].mtu", [](auto& c) { c.ports[0].mtu = 500; }},
      {"ports[0].twin", [](auto& c) { c.ports[0].twin = "veth"; }},
      {"ports[0].transit", [](auto& c) { c.ports[0].transit = "yes"; }},
      {"ports[0].steering", [](auto& c) { c.ports[0].steering = "rss"; }},
      {"ports[1].faces", [](auto& c) { c.ports[1].faces = "server"; }},
      {"ports[1].steering",
       [](auto& c) {
         c.ports[0].steering = "inverse_rss";
         c.ports[1].steering = "rte_flow";
       }},
      {"ports[1].faces",
       [](auto& c) {
         c.ports[1].name = "wan0.100";
         c.ports[1].device = "";
         c.ports[1].faces = "clients";
       }},
      {"dataplane.unknownPort", [](auto& c) { c.unknown_port = "reject"; }},
      {"ports[0].transit",
       [](auto& c) {
         c.ports[0].twin = "none";
         c.ports[0].transit = "kernel";
       }},
      {"ports[0].rxDescriptors", [](auto& c) { c.ports[0].rx_descriptors = 1000; }},
      {"ports[0].buffers", [](auto& c) { c.ports[0].buffers = 1'000; }},
      {"ports[0].bufferSize", [](auto& c) { c.ports[0].buffer_size = "100"; }},
      {"ports[0].bufferSize", [](auto& c) { c.ports[0].buffer_size = "17KiB"; }},
      {"ports[0].bufferSize", [](auto& c) { c.ports[0].buffer_size = "small"; }},
      {"ports[0].announceOn[0]", [](auto& c) { c.ports[0].announce_on = {"203.0.113.10/24"}; }},
      {"ports[0]", [](auto& c) { c.ports[0].addresses = {"192.0.2.1/24"}; }},
      {"ports[0].addresses[0]",
       [](auto& c) {
         c.ports[0].twin = "none";
         c.ports[0].addresses = {"192.0.2.1"};
       }},
      {"ports[0].neighbours[0]",
       [](auto& c) {
         c.ports[0].twin = "none";
         c.ports[0].neighbours = {{"192.0.2.1", "02:00"}};
       }},
      {"ports[0].routes[0]",
       [](auto& c) {
         c.ports[0].twin = "none";
         c.ports[0].routes = {{"0.0.0.0/0", "2001:db8::1"}};
       }},
      {"snat", [](auto& c) { c.snat.clear(); }},
      {"snat[0].address", [](auto& c) { c.snat[0].address = "10.0.0"; }},
      {"snat[1].address", [](auto& c) { c.snat[1].address = "10.0.0.100"; }},
      {"snat[0].portRange", [](auto& c) { c.snat[0].port_range = "3000-2000"; }},
      {"snat[0].portRange", [](auto& c) { c.snat[0].port_range = "0-70000"; }},
      {"addressPools[0].name", [](auto& c) { c.address_pools[0].name = "LB"; }},
      {"addressPools[1].name", [](auto& c) { c.address_pools[1].name = "lb"; }},
      {"addressPools[0].addresses", [](auto& c) { c.address_pools[0].addresses.clear(); }},
      {"addressPools[0].addresses[0]",
       [](auto& c) { c.address_pools[0].addresses = {"203.0.113.1/28"}; }},
      {"addressPools[0].addresses[0]",
       [](auto& c) { c.address_pools[0].addresses = {"224.0.0.0/24"}; }},
      {"addressPools[0].addresses[0]",
       [](auto& c) {
         c.snat = {{"2001:db8:10::100", ""}};
         c.address_pools.pop_back();
       }},
      {"addressPools[1].addresses[0]",
       [](auto& c) { c.address_pools[1].addresses = {"203.0.113.15-203.0.113.20"}; }},
      {"addressPools[1].addresses[1]",
       [](auto& c) {
         c.address_pools[1].addresses = {"198.51.100.0/24", "198.51.100.9"};
       }},
      {"clusterIpRanges[0]", [](auto& c) { c.cluster_ip_ranges = {"10.96.0.1/16"}; }},
      {"clusterIpRanges[1]",
       [](auto& c) {
         c.cluster_ip_ranges = {"10.96.0.0/16", "203.0.113.4"};
       }},
      {"externalIpRanges[0]", [](auto& c) { c.external_ip_ranges = {"all"}; }},
      {"addressPools[0].providers[0]", [](auto& c) { c.address_pools[0].providers = {"a b"}; }},
      {"addressPools[0].namespaces[0]", [](auto& c) { c.address_pools[0].namespaces = {""}; }},
      {"api.listen", [](auto& c) { c.listen = "unix:relative"; }},
      {"log.level", [](auto& c) { c.log_level = "loud"; }}};
  for (const Case& test : cases) {
    SCOPED_TRACE(test.path);
    ConfigInput input = good();
    test.change(input);
    const auto config = validate(input, 2);
    ASSERT_FALSE(config);
    ASSERT_EQ(config.error().faults.size(), 1U);
    EXPECT_EQ(config.error().faults[0].path, test.path);
    EXPECT_EQ(config.error().code, Code::kInvalidArgument);
  }
}

TEST(Config, APortWithoutADeviceIsAVlanOfAnother) {
  ConfigInput input = good();
  input.ports.emplace_back().name = "wan0.100";
  const auto config = validate(input, 2);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->ports[2].vlan, 100);
  EXPECT_EQ(config->ports[2].parent, 0);
  for (const char* name :
       {"wan0.0", "wan0.0100", "wan0.4095", "wan0.x", "wan0.", "lan9.100", "plain"}) {
    input.ports[2].name = name;
    const auto refused = validate(input, 2);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().faults[0].path.rfind("ports[2].", 0), 0U) << name;
  }
  input.ports[2].name = "wan0.100";
  input.ports[2].mtu = 9000;
  EXPECT_EQ(validate(input, 2).error().faults[0].path, "ports[2].mtu");
  input.ports[2].mtu = 0;
  input.ports[0].mtu = 1400;
  EXPECT_EQ(validate(input, 2)->ports[2].mtu, 1400) << "what does not say has its device's";
  input.ports[0].mtu = 9000;
  EXPECT_EQ(validate(input, 2)->ports[2].mtu, 1500) << "up to what a port has that does not say";
  input.ports[0].mtu = 0;
  input.ports[2].rx_descriptors = 512;
  EXPECT_EQ(validate(input, 2).error().faults[0].path, "ports[2]");
  input.ports[2].rx_descriptors = 0;
  ASSERT_TRUE(validate(input, 2));
  input.ports[2].buffers = 20'000;
  EXPECT_EQ(validate(input, 2).error().faults[0].path, "ports[2]");
  input.ports[2].buffers = 0;
  input.ports[2].buffer_size = "2KiB";
  EXPECT_EQ(validate(input, 2).error().faults[0].path, "ports[2]");
}

TEST(Config, LcoresAreDistinct) {
  ConfigInput lcores = good();
  lcores.lcores = {1, 2, 1};
  EXPECT_EQ(validate(lcores, 4).error().faults[0].path, "dataplane.lcores[2]");
  lcores.lcores = {1, 2};
  EXPECT_TRUE(validate(lcores, 4));
}

TEST(Config, TheApiIsServedOverTcpWithAllOfItsFilesOnly) {
  ConfigInput input = good();
  input.listen = "0.0.0.0:5533";
  EXPECT_EQ(validate(input, 4).error().faults[0].path, "api.listen");
  input.listen = "";
  input.tcp = {"[2001:db8::1]:5533", "/tls/tls.crt", "/tls/tls.key", "/tls/ca.crt"};
  ASSERT_TRUE(validate(input, 4));
  EXPECT_EQ(validate(input, 4)->tcp.listen, "[2001:db8::1]:5533");
  for (const char* listen : {"", "5533", "host:5533", "2001:db8::1:5533", "192.0.2.1:0",
                             "192.0.2.1:65536", "[192.0.2.1]:80", "192.0.2.1:80x"}) {
    input.tcp.listen = listen;
    ASSERT_FALSE(validate(input, 4)) << listen;
    EXPECT_EQ(validate(input, 4).error().faults[0].path, "api.tcp.listen") << listen;
  }
  input.tcp = {"192.0.2.1:5533", "", "tls.key", ""};
  const Error error = validate(input, 4).error();
  ASSERT_EQ(error.faults.size(), 3U);
  EXPECT_EQ(error.faults[0].path, "api.tcp.certificate");
  EXPECT_EQ(error.faults[1].path, "api.tcp.key");
  EXPECT_EQ(error.faults[2].path, "api.tcp.clientAuthority");
}

TEST(Config, DurationsAndSizesNeedUnits) {
  EXPECT_EQ(parse_duration_us("100us"), 100U);
  EXPECT_EQ(parse_duration_us("2h4m"), 7'440'000'000U);
  EXPECT_EQ(parse_duration_us("120s"), 120'000'000U);
  const std::string huge = "4611686018427387903us";
  EXPECT_FALSE(parse_duration_us(huge + huge + huge + huge + huge)) << "more than 64 bits hold";
  for (const char* text : {"", "5", "us", "5 s", "5sec", "-1s", "99999999999999999999s"}) {
    EXPECT_FALSE(parse_duration_us(text)) << text;
  }
  EXPECT_EQ(parse_size("512MiB"), 512ULL << 20U);
  EXPECT_EQ(parse_size("1GiB"), 1ULL << 30U);
  for (const char* text : {"", "MiB", "512MB", "1GiB1", "-1MiB"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(Config, ASharedSnatAddressNeedsARangeOutsideTheHostsOwnPorts) {
  ConfigInput input = good();
  const std::vector<IpAddress> host{*parse_ip("10.0.0.100")};
  const auto fault = [&](const char* range) {
    input.snat[0].port_range = range;
    return check_snat_dedicated(*validate(input, 2), host, 32'768, 61'000);
  };
  EXPECT_EQ(fault("")->path, "snat[0].address");
  EXPECT_TRUE(fault("20000-40000"));
  EXPECT_FALSE(fault("20000-29999"));
  EXPECT_TRUE(fault("20000-32767")) << "node ports";
  EXPECT_FALSE(fault("61000-65535"));
  EXPECT_FALSE(check_snat_dedicated(*validate(good(), 2), {}, 32'768, 61'000)) << "dedicated";
}

}  // namespace
}  // namespace sluice::model
