// SPDX-License-Identifier: Apache-2.0
// Node ports: on which addresses they are served, and what is left alone there.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::testing {
namespace {

constexpr std::uint16_t kNodePort = 30'080;

class NodePorts : public ::testing::TestWithParam<Family> {
 protected:
  NodePorts() : node(*parse_ip(GetParam() == Family::kIpv4 ? "10.0.0.200" : "2001:db8:10::200")) {
    world.add_node_port(kNodePort, World::kWebId);
  }
  [[nodiscard]] FrameSpec request(const IpAddress& to, std::uint16_t port = kNodePort) const {
    FrameSpec spec = world.from_client(kProtocolTcp, 4000);
    spec.destination = to;
    spec.destination_port = port;
    return spec;
  }
  void expect_carried(const IpAddress& to, std::uint16_t port = kNodePort) {
    const Outcome there = world.run(make_frame(request(to, port)), World::kWan);
    ASSERT_EQ(there.verdict, Verdict::kTransmit) << name_of(there.drop);
    EXPECT_EQ(there.out_port, World::kLan);
    EXPECT_EQ(read_frame(there.frame).fault, "");
    EXPECT_EQ(read_frame(there.frame).destination_port, 8080);
    const Outcome back = world.run(make_frame(world.answer_to(there.frame)), World::kLan);
    ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
    const FrameFacts answer = read_frame(back.frame);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.source, to) << "the client hears from whom it has asked";
    EXPECT_EQ(answer.source_port, port);
  }

  World world{GetParam()};
  IpAddress node;  // behind us
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, NodePorts, ::testing::Values(Family::kIpv4, Family::kIpv6));

TEST_P(NodePorts, AreCarriedOnTheHostsOwnAddress) {
  world.serve_node_ports(world.wan_host);
  expect_carried(world.wan_host);
}

TEST_P(NodePorts, AreCarriedOnVips) {
  world.serve_node_ports(world.vip);
  expect_carried(world.vip);
  expect_carried(world.vip, 80);
}

TEST_P(NodePorts, AreCarriedOnTheAddressesOfNodes) {
  world.serve_node_ports(node);
  expect_carried(node);
}

TEST_P(NodePorts, AreTheKernelsOnAHostsAddressThatServesNone) {
  const Outcome outcome = world.run(make_frame(request(world.wan_host)), World::kWan);
  EXPECT_EQ(outcome.verdict, Verdict::kPunt);
}

TEST_P(NodePorts, AreNobodysOnAVipThatServesNone) {
  EXPECT_EQ(world.run(make_frame(request(world.vip)), World::kWan).drop, Drop::kUnknownPort);
}

TEST_P(NodePorts, ShareTheAffinityOfTheirServicePort) {
  world.change_service(World::kWebId, [](ServicePort& service) { service.affinity_ms = 10'000; });
  world.add_node_port(kNodePort, World::kWebId);
  world.serve_node_ports(world.wan_host);
  std::set<std::string> backends;
  const auto open = [&](const IpAddress& to, std::uint16_t port, std::uint16_t client_port) {
    FrameSpec spec = request(to, port);
    spec.source_port = client_port;
    backends.insert(
        to_string(read_frame(world.run(make_frame(spec), World::kWan).frame).destination));
  };
  for (std::uint16_t client_port = 4000; client_port < 4032; client_port += 2) {
    open(world.vip, 80, client_port);
    open(world.wan_host, kNodePort, client_port + 1);
  }
  EXPECT_EQ(backends.size(), 1U);
}

TEST_P(NodePorts, LeaveAllOtherPortsOfAHostToTheKernel) {
  world.serve_node_ports(world.wan_host);
  for (const std::uint16_t port : {std::uint16_t{22}, std::uint16_t{30'081}, std::uint16_t{80}}) {
    const Outcome outcome = world.run(make_frame(request(world.wan_host, port)), World::kWan);
    EXPECT_EQ(outcome.verdict, Verdict::kPunt) << port;
  }
  FrameSpec udp = request(world.wan_host);
  udp.protocol = kProtocolUdp;
  EXPECT_EQ(world.run(make_frame(udp), World::kWan).verdict, Verdict::kPunt)
      << "the other protocol";
}

TEST_P(NodePorts, LeaveAllElseOfANodeAlone) {
  world.serve_node_ports(node);
  EXPECT_EQ(world.run(make_frame(request(node, 22)), World::kWan).drop, Drop::kTransit);
  const Frame asked = GetParam() == Family::kIpv4
                          ? make_arp_request(world.client_mac, world.client_on_link, node)
                          : make_solicitation(world.client_mac, world.client_on_link, node);
  EXPECT_EQ(world.run(asked, World::kWan).verdict, Verdict::kPunt) << "not ours to answer";
}

TEST_P(NodePorts, KnowSourceRangesOnVipsOnly) {
  world.change_service(World::kWebId, [&](ServicePort& service) {
    service.allowed = std::make_shared<SourceRanges>(
        std::vector{prefix_of(world.stranger, world.stranger.bits())});
  });
  world.add_node_port(kNodePort, World::kWebId);
  world.serve_node_ports(world.vip);
  world.serve_node_ports(world.wan_host);
  EXPECT_EQ(world.run(make_frame(request(world.vip)), World::kWan).drop, Drop::kSourceRange);
  expect_carried(world.wan_host);
}

TEST_P(NodePorts, RefuseFromTheAddressThatWasAskedWithoutABackend) {
  World refusing(GetParam(), {.refuse = true});
  refusing.add_node_port(kNodePort, World::kEmptyId);
  refusing.serve_node_ports(refusing.wan_host);
  FrameSpec spec = refusing.from_client(kProtocolTcp, 4000);
  spec.destination = refusing.wan_host;
  spec.destination_port = kNodePort;
  const Outcome outcome = refusing.run(make_frame(spec), World::kWan);
  EXPECT_EQ(outcome.drop, Drop::kNoBackend);
  ASSERT_TRUE(outcome.answered);
  EXPECT_EQ(read_frame(outcome.frame).source, refusing.wan_host);
}

TEST_P(NodePorts, TakeFragmentsAndLeaveOthersToTheKernel) {
  world.add_node_port(kNodePort, World::kDnsId);
  world.serve_node_ports(world.wan_host);
  for (const std::uint16_t port : {kNodePort, std::uint16_t{179}}) {
    FrameSpec spec = request(world.wan_host, port);
    spec.protocol = kProtocolUdp;
    spec.payload = 900;
    spec.source_port = port;  // a datagram of its own
    for (const Frame& fragment : split(make_frame(spec), 400, port)) {
      const Outcome outcome = world.run(fragment, World::kWan);
      EXPECT_EQ(outcome.verdict, port == kNodePort ? Verdict::kTransmit : Verdict::kPunt) << port;
    }
  }
}

TEST_P(NodePorts, AreHandedToTheOwnerOfTheirFlowAndTheKernelsPacketsAreNot) {
  World many(GetParam(), {.lcores = 2});
  many.add_node_port(kNodePort, World::kWebId);
  many.serve_node_ports(many.wan_host);
  unsigned hops = 0;
  for (std::uint16_t client = 4000; client < 4032; ++client) {
    FrameSpec spec = many.from_client(kProtocolTcp, client);
    spec.destination = many.wan_host;
    spec.destination_port = kNodePort;
    const Outcome there = many.run(make_frame(spec), World::kWan);
    ASSERT_EQ(there.verdict, Verdict::kTransmit) << name_of(there.drop);
    hops += there.hops;
    EXPECT_EQ(many.run(make_frame(many.answer_to(there.frame)), World::kLan).verdict,
              Verdict::kTransmit);
    spec.destination_port = 22;
    EXPECT_EQ(many.run(make_frame(spec), World::kWan).hops, 0U);
  }
  EXPECT_GT(hops, 0U);
}

TEST_P(NodePorts, FlowsOfAServiceThatHasLeftANodesAddressGoOnOnEveryLcore) {
  World many(GetParam(), {.lcores = 2});
  many.add_node_port(kNodePort, World::kWebId);
  many.serve_node_ports(node);
  std::vector<FrameSpec> requests;
  for (std::uint16_t client = 4000; client < 4016; ++client) {
    requests.push_back(many.from_client(kProtocolTcp, client));
    requests.back().destination = node;
    requests.back().destination_port = kNodePort;
    ASSERT_EQ(many.run(make_frame(requests.back()), World::kWan).verdict, Verdict::kTransmit);
  }
  auto left = std::make_shared<AddressEntry>(*many.snapshot.addresses->find(node));
  left->serves_node_ports = false;
  left->keeps_flows = true;
  many.snapshot.addresses = std::make_shared<AddressTable>(
      many.snapshot.addresses->with(std::vector<AddressTable::Change>{{node, left}}));
  ++many.snapshot.epoch;
  for (FrameSpec& request : requests) {
    request.tcp_flags = kTcpAck;
    for (int arrival = 0; arrival < 2; ++arrival) {  // on each lcore in turn
      EXPECT_EQ(many.run(make_frame(request), World::kWan).verdict, Verdict::kTransmit);
    }
  }
  FrameSpec fresh = many.from_client(kProtocolTcp, 5000);
  fresh.destination = node;
  fresh.destination_port = kNodePort;
  EXPECT_EQ(many.run(make_frame(fresh), World::kWan).drop, Drop::kTransit)
      << "nobody's for new ones";
}

}  // namespace
}  // namespace sluice::testing
