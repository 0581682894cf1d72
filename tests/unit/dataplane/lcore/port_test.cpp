// SPDX-License-Identifier: Apache-2.0
// DPDK's ports as the gateway makes them, on rings and on a veth pair in a network namespace.
#include "dataplane/lcore/port.h"

#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;

PortSettings settings_of(const std::string& device) {
  PortSettings settings;
  settings.name = "wan0";
  settings.device = device;
  return settings;
}

std::string fault_of(const PortSettings& settings, unsigned lcores = 1) {
  try {
    const Port port(settings, lcores, "ports[0]");
  } catch (const StartFault& fault) {
    return fault.what();
  }
  return "";
}

class PortTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
  }
};

TEST_F(PortTest, TellsWhatItIs) {
  const Port port(settings_of("net_ring0"), 1, "ports[0]");
  const PortState state = port.state();
  EXPECT_EQ(state.name, "wan0");
  EXPECT_EQ(state.device, "net_ring0");
  EXPECT_EQ(state.driver, "net_ring");
  EXPECT_EQ(state.mtu, 1500);
  EXPECT_TRUE(state.link_up);
  EXPECT_EQ(state.rx_packets, 0U);
}

TEST_F(PortTest, CanBeMadeAgainOnceItIsGone) {
  for (int i = 0; i < 3; ++i) {
    const Port port(settings_of("net_null0,no-rx=1"), 2, "ports[0]");
    EXPECT_EQ(port.state().driver, "net_null");
  }
}

TEST_F(PortTest, CarriesWhatIsSent) {
  const Port port(settings_of("net_ring1"), 1, "ports[0]");  // sends to itself
  rte_mbuf* mbuf = rte_pktmbuf_alloc(port.pool());
  ASSERT_NE(rte_pktmbuf_append(mbuf, 60), nullptr);
  ASSERT_EQ(rte_eth_tx_burst(port.id(), 0, &mbuf, 1), 1);
  rte_mbuf* received = nullptr;
  ASSERT_EQ(rte_eth_rx_burst(port.id(), 0, &received, 1), 1);
  EXPECT_EQ(port.state().tx_packets, 1U);
  EXPECT_EQ(port.state().rx_packets, 1U);
  rte_pktmbuf_free(received);
}

TEST_F(PortTest, ClosingGivesTheDevicesBuffersBack) {
  Port port(settings_of("net_ring2"), 1, "ports[0]");
  const unsigned idle = rte_mempool_in_use_count(port.pool());
  port.close();
  port.close();
  EXPECT_LE(rte_mempool_in_use_count(port.pool()), idle);
}

TEST_F(PortTest, ADeviceThatCannotBeMadeIsNamed) {
  for (const char* device : {"net_nonsense0", "net_af_packet0", "0000:7f:1f.7", "7f:1f.7"}) {
    const std::string fault = fault_of(settings_of(device));
    EXPECT_EQ(fault.rfind("ports[0].device: ", 0), 0U) << fault;
    EXPECT_NE(fault.find("no such port"), std::string::npos) << fault;
    EXPECT_EQ(fault.find('\n'), std::string::npos) << fault;
  }
}

TEST_F(PortTest, AnInterfaceThatIsNotThereIsNamed) {
  const std::string fault = fault_of(settings_of("net_af_packet1,iface=nowhere0"));
  EXPECT_EQ(fault.rfind("ports[0].device: no such port: there is no interface 'nowhere0'", 0), 0U)
      << fault;
}

TEST_F(PortTest, TooFewQueuesAreAFaultThatNamesBothNumbers) {
  const std::string fault = fault_of(settings_of("net_null1,no-rx=1"), 2000);
  EXPECT_EQ(fault.rfind("ports[0].device: 2000 queues are needed", 0), 0U) << fault;
}

TEST_F(PortTest, TooLittleMemoryIsAFaultThatNamesTheSettings) {
  PortSettings settings = settings_of("net_null2,no-rx=1");
  settings.mtu = 9000;
  settings.rx_descriptors = 32'768;
  settings.tx_descriptors = 32'768;
  const std::string fault = fault_of(settings);
  EXPECT_EQ(fault.rfind("dataplane.memory: no room for ", 0), 0U) << fault;
  EXPECT_NE(fault.find("ports[0].rx_descriptors"), std::string::npos) << fault;
  // What it had made is gone again.
  settings.rx_descriptors = 512;
  settings.tx_descriptors = 512;
  EXPECT_EQ(fault_of(settings), "");
}

TEST_F(PortTest, BuffersAreAsManyAndAsLargeAsAskedFor) {
  PortSettings settings = settings_of("net_null3,no-rx=1");
  settings.rx_descriptors = settings.tx_descriptors = 512;
  settings.buffers = 5'000;
  settings.buffer_bytes = 256;
  const Port port(settings, 1, "ports[0]");
  EXPECT_EQ(port.pool()->size, 5'000U);
  EXPECT_EQ(rte_pktmbuf_data_room_size(port.pool()), RTE_PKTMBUF_HEADROOM + 256);
}

TEST_F(PortTest, FewerBuffersThanItsQueuesHoldAreAFault) {
  PortSettings settings = settings_of("net_null4,no-rx=1");
  settings.buffers = 4'000;
  const std::string fault = fault_of(settings);
  EXPECT_EQ(fault.rfind("ports[0].buffers: 4000 are fewer than the 5120 ", 0), 0U) << fault;
}

TEST_F(PortTest, TellsWhatTheDeviceWasAskedForAndWhatItSaid) {
  const PortState state = Port(settings_of("net_ring3"), 1, "ports[0]").state();
  ASSERT_GE(state.requests.size(), 2U);
  for (const NicRequest& request : state.requests) {
    EXPECT_EQ(request.accepted, request.answer.empty()) << request.what;
    EXPECT_EQ(request.accepted,
              std::count(state.offloads.begin(), state.offloads.end(), request.what) == 1);
  }
}

TEST_F(PortTest, JumboFramesFitOneBuffer) {
  PortSettings settings = settings_of("net_null3,no-rx=1");
  settings.mtu = 9000;
  settings.rx_descriptors = 64;
  settings.tx_descriptors = 64;
  const Port port(settings, 1, "ports[0]");
  EXPECT_GE(rte_pktmbuf_data_room_size(port.pool()), RTE_PKTMBUF_HEADROOM + 9018);
}

TEST_F(PortTest, ALinkThatGoesDownAndUpIsNoticedOnceEach) {
  Port port(settings_of("net_ring4"), 1, "ports[0]");
  EXPECT_FALSE(port.link_changed());
  ASSERT_EQ(rte_eth_dev_set_link_down(port.id()), 0);
  EXPECT_TRUE(port.link_changed());
  EXPECT_FALSE(port.link_is_up());
  EXPECT_FALSE(port.link_changed());
  ASSERT_EQ(rte_eth_dev_set_link_up(port.id()), 0);
  EXPECT_TRUE(port.link_changed());
  EXPECT_TRUE(port.link_is_up());
  EXPECT_EQ(port.state().link_changes, 2U);
}

TEST_F(PortTest, DevicesBoundIntoOneAreAPort) {
  ASSERT_EQ(rte_eal_hotplug_add("vdev", "net_null8", "no-rx=1"), 0);
  ASSERT_EQ(rte_eal_hotplug_add("vdev", "net_null9", "no-rx=1"), 0);
  {
    PortSettings settings = settings_of("net_bonding0,mode=1,slave=net_null8,slave=net_null9");
    settings.rx_descriptors = 64;
    settings.tx_descriptors = 64;
    const Port port(settings, 2, "ports[0]");
    EXPECT_EQ(port.state().driver, "net_bonding");
  }
  rte_eal_hotplug_remove("vdev", "net_null8");
  rte_eal_hotplug_remove("vdev", "net_null9");
}

struct VethCase {
  const char* claim;
  const char* device;
  int socket_family;  // what the kernel must have
};

class VethPort : public PortTest, public ::testing::WithParamInterface<VethCase> {
 protected:
  void SetUp() override {
    const int fd = socket(GetParam().socket_family, SOCK_RAW | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0) << "this kernel has no such sockets";
    close(fd);
    ASSERT_TRUE(run("ip link add veth0 type veth peer name veth1"));
    ASSERT_TRUE(run("ip link set veth0 up && ip link set veth1 up"));
  }
  void TearDown() override { run("ip link del veth0"); }

  static std::string link() {
    return output_of("ip -d link show dev veth0 | sed 's/state [A-Z]*//'; nft list ruleset");
  }
  static Frame some_frame(std::uint16_t number) {
    FrameSpec spec;
    spec.from_mac = MacAddress{{2, 0, 0, 0, 0, 9}};
    spec.to_mac = kBroadcastMac;
    spec.source = *parse_ip("192.0.2.7");
    spec.destination = *parse_ip("192.0.2.255");
    spec.protocol = 17;
    spec.source_port = number;
    spec.payload = 100;
    return make_frame(spec);
  }
  static std::optional<Frame> receive(const Port& port) {
    const auto deadline = std::chrono::steady_clock::now() + 2s;
    rte_mbuf* mbuf = nullptr;
    while (rte_eth_rx_burst(port.id(), 0, &mbuf, 1) == 0) {
      if (std::chrono::steady_clock::now() > deadline) {
        return std::nullopt;
      }
    }
    Frame frame = frame_of(mbuf);
    rte_pktmbuf_free(mbuf);
    return frame;
  }
};

TEST_P(VethPort, CarriesFramesBothWaysAndLeavesTheInterfaceAsItWas) {
  const std::string before = link();
  {
    const Port port(settings_of(GetParam().device), 1, "ports[0]");
    const RawSocket peer("veth1");
    for (std::uint16_t i = 0; i < 200; ++i) {
      ASSERT_TRUE(peer.send(some_frame(i)));
      ASSERT_EQ(receive(port), some_frame(i)) << i;
    }
    for (std::uint16_t i = 0; i < 200; ++i) {
      const Frame frame = some_frame(i);
      rte_mbuf* mbuf = rte_pktmbuf_alloc(port.pool());
      ASSERT_NE(mbuf, nullptr);
      std::copy(frame.begin(), frame.end(),
                reinterpret_cast<std::uint8_t*>(
                    rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(frame.size()))));
      ASSERT_EQ(rte_eth_tx_burst(port.id(), 0, &mbuf, 1), 1) << i;
      ASSERT_EQ(peer.receive(), frame) << i;
    }
    EXPECT_EQ(port.state().rx_packets, 200U);
    EXPECT_EQ(port.state().tx_packets, 200U);
    EXPECT_FALSE(port.mac().is_zero());
  }
  EXPECT_EQ(link(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Devices, VethPort,
    ::testing::Values(VethCase{"AfPacket", "net_af_packet7,iface=veth0,blocksz=65536,framecnt=4096",
                               AF_PACKET},
                      VethCase{"AfXdp", "net_af_xdp7,iface=veth0", AF_XDP}),
    [](const auto& made) { return made.param.claim; });

}  // namespace
}  // namespace sluice::testing
