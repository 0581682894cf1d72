// SPDX-License-Identifier: Apache-2.0
// The kernel's interface under a port, in a network namespace of its own.
#include "dataplane/lcore/host_device.h"

#include "dataplane/lcore/dataplane.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <thread>

namespace sluice::testing {
namespace {

// A dash and a dot, as in a VLAN's name.
const std::string kInterface = "veth-a.7";
const std::string kPeer = "peer";

class HostDeviceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { enter_own_network(); }
  void SetUp() override {
    ASSERT_TRUE(run("ip link add " + kInterface + " type veth peer name " + kPeer));
    ASSERT_TRUE(run("ip link set " + kPeer + " up"));
    // A name with a dot is a path with a slash for sysctl, but not in /proc.
    ASSERT_TRUE(run("echo 0 > " + ipv6_switch()));
  }
  void TearDown() override { run("ip link del " + kInterface); }

  static std::string ipv6_switch() {
    return "/proc/sys/net/ipv6/conf/" + kInterface + "/disable_ipv6";
  }
  // Everything that could be left behind.
  static std::string state() {
    // An interface that was up once has another qdisc for good.
    return output_of("ip -d link show dev " + kInterface +
                     " | head -2 | sed 's/qdisc [a-z]*//'; nft list ruleset") +
           line_of(ipv6_switch());
  }
  static std::optional<std::string> fault_of(const std::string& interface, bool drop_ingress) {
    try {
      const HostDevice device(interface, drop_ingress, "ports[1].device");
    } catch (const StartFault& fault) {
      return fault.what();
    }
    return std::nullopt;
  }
};

TEST_F(HostDeviceTest, IsUpAndHasNoIpv6WhileItServes) {
  const HostDevice device(kInterface, false, "ports[0].device");
  EXPECT_EQ(line_of(ipv6_switch()), "1");
  EXPECT_NE(output_of("ip link show dev " + kInterface).find(",UP"), std::string::npos);
  EXPECT_EQ(output_of("nft list ruleset"), "");
}

TEST_F(HostDeviceTest, TheKernelSeesNothingOfWhatComesIn) {
  const auto received = [] {
    return std::stoul(output_of("nstat -asz IpInReceives | awk '/IpInReceives/ {print $2}'"));
  };
  FrameSpec spec;
  spec.to_mac = kBroadcastMac;
  spec.source = *parse_ip("192.0.2.1");
  spec.destination = *parse_ip("255.255.255.255");
  spec.protocol = 17;
  const RawSocket peer(kPeer);
  {
    const HostDevice device(kInterface, true, "ports[0].device");
    const RawSocket port(kInterface);
    const auto before = received();
    ASSERT_TRUE(peer.send(make_frame(spec)));
    EXPECT_EQ(port.receive(), make_frame(spec)) << "a packet socket still sees it";
    EXPECT_EQ(received(), before);
  }
  const HostDevice device(kInterface, false, "ports[0].device");
  const auto before = received();
  ASSERT_TRUE(peer.send(make_frame(spec)));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (received() == before && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(received(), before + 1) << "the counter counts";
}

TEST_F(HostDeviceTest, IsLeftAsItWas) {
  for (const char* how : {"up", "down"}) {
    run("ip link set " + kInterface + " " + how);
    const std::string before = state();
    {
      const HostDevice device(kInterface, true, "ports[0].device");
      EXPECT_NE(state(), before);
      // What DPDK does to it, by the port's settings.
      run("ip link set " + kInterface + " mtu 1400 promisc on allmulticast on");
    }
    EXPECT_EQ(state(), before);
  }
}

TEST_F(HostDeviceTest, ATableThatAKilledRunLeftIsReplaced) {
  ASSERT_TRUE(run("nft 'table netdev sluice_" + kInterface + " { chain old { }; }'"));
  {
    const HostDevice device(kInterface, true, "ports[0].device");
    EXPECT_EQ(output_of("nft list ruleset").find("old"), std::string::npos);
  }
  EXPECT_EQ(output_of("nft list ruleset"), "");
}

TEST_F(HostDeviceTest, OneThatIsNotThereIsNamed) {
  EXPECT_EQ(fault_of("nowhere0", true),
            "ports[1].device: no such port: there is no interface 'nowhere0' here; correct iface=");
}

TEST_F(HostDeviceTest, OneWithAnAddressIsRefusedAndNotTouched) {
  for (const std::string address : {"192.0.2.1/24", "2001:db8::1/64"}) {
    ASSERT_TRUE(run("ip addr add " + address + " dev " + kInterface));
    const std::string before = state();
    const auto fault = fault_of(kInterface, true);
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->rfind("ports[1].device: interface '" + kInterface + "' has the address ", 0),
              0U)
        << *fault;
    EXPECT_NE(fault->find(address.substr(0, address.find('/'))), std::string::npos) << *fault;
    EXPECT_EQ(state(), before);
    ASSERT_TRUE(run("ip addr flush dev " + kInterface));
  }
}

TEST_F(HostDeviceTest, AnAutomaticLinkLocalAddressIsNoReasonToRefuse) {
  ASSERT_TRUE(run("ip link set " + kInterface + " up"));
  ASSERT_TRUE(run("ip addr add fe80::7/64 dev " + kInterface));
  EXPECT_EQ(fault_of(kInterface, false), std::nullopt);
}

TEST_F(HostDeviceTest, WithoutNftTheStartFailsAndLeavesTheInterfaceAsItWas) {
  const std::string before = state();
  const std::string path = getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const auto fault = fault_of(kInterface, true);
  setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(fault);
  EXPECT_NE(fault->find("install nftables"), std::string::npos) << *fault;
  EXPECT_EQ(state(), before);
}

}  // namespace
}  // namespace sluice::testing
