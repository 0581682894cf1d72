# SPDX-License-Identifier: Apache-2.0
"""What the networks on both sides see: ARP, ND, announcements, neighbours that change."""

import select
import time

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether

from load import ask_udp, curl_many, url
from namespaces import wait_until
from testbed import both_families, web
from testbed import HTTP, Testbed
from gateway import service
from topology import SNAT_V4, SNAT_V6, VIP_V4, VIP_V6, Topology, backend_v4, backend_v6

FAMILIES = pytest.mark.parametrize("vip, snat, backend", [(VIP_V4, SNAT_V4, backend_v4),
                                                          (VIP_V6, SNAT_V6, backend_v6)],
                                   ids=["ipv4", "ipv6"])
OTHER_VIP_V4 = "203.0.113.20"
OTHER_VIP_V6 = "2001:db8:113::20"


def mac_of(namespace, device):
    return namespace.ip("-br", "link", "show", "dev", device).stdout.split()[2]


def neighbour_mac(namespace, address):
    words = namespace.ip("neigh", "show", address).stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


def sniff(raw, seconds):
    """Every frame that arrives at a raw socket within so many seconds."""
    deadline = time.monotonic() + seconds
    frames = []
    while (left := deadline - time.monotonic()) > 0:
        if select.select([raw], [], [], left)[0]:
            frames.append(Ether(raw.recv(65536)))
    return frames


def gratuitous_arps(frames, address):
    """RFC 5227 section 3: an ARP request with the address as sender and target, to everyone."""
    return [frame for frame in frames if ARP in frame and frame[ARP].op == 1
            and frame.dst == "ff:ff:ff:ff:ff:ff"
            and frame[ARP].psrc == address and frame[ARP].pdst == address]


def unsolicited_advertisements(frames, address):
    """RFC 4861 section 7.2.6: to all nodes, override set, solicited not."""
    return [frame for frame in frames if ICMPv6ND_NA in frame
            and frame[IPv6].dst == "ff02::1" and frame[ICMPv6ND_NA].tgt == address
            and frame[ICMPv6ND_NA].O == 1 and frame[ICMPv6ND_NA].S == 0]


@FAMILIES
def test_vip_and_snat_address_have_the_mac_of_their_port(testbed, vip, snat, backend):
    testbed.client.ip("neigh", "flush", "dev", "wan")
    assert curl_many(testbed.client, url(vip), 1)
    assert neighbour_mac(testbed.client, vip) == mac_of(testbed.host, "wan0")
    testbed.backends[1].ip("neigh", "flush", "dev", "eth0")
    testbed.backends[1].run("ping", "-n", "-c", "1", "-W", "2", snat)
    assert neighbour_mac(testbed.backends[1], snat) == mac_of(testbed.host, "lan0")


def test_nobody_answers_for_an_address_that_is_no_vip(testbed):
    testbed.client.run("ping", "-n", "-c", "1", "-W", "1", "203.0.113.77", check=False)
    assert neighbour_mac(testbed.client, "203.0.113.77") is None


def test_a_new_vip_is_announced_three_times_on_its_network_only(testbed):
    with testbed.client.frames("wan") as wan, testbed.backends[1].frames("eth0") as lan:
        testbed.gateway.apply(service("other", [OTHER_VIP_V4, OTHER_VIP_V6], [HTTP],
                                      both_families([1])))
        frames = sniff(wan, 4)
        lan.setblocking(False)
        lan_frames = sniff(lan, 0.1)
    arps = gratuitous_arps(frames, OTHER_VIP_V4)
    advertisements = unsolicited_advertisements(frames, OTHER_VIP_V6)
    assert (len(arps), len(advertisements)) == (3, 3)
    assert {arp.src for arp in arps} == {mac_of(testbed.host, "wan0")}
    assert {arp[ARP].hwsrc for arp in arps} == {mac_of(testbed.host, "wan0")}
    assert not gratuitous_arps(lan_frames, OTHER_VIP_V4)
    assert not unsolicited_advertisements(lan_frames, OTHER_VIP_V6)


def test_snat_addresses_are_announced_to_the_backends(lab, driver):
    topology = Topology(lab, driver)
    with topology.backends[1].frames("eth0") as lan:
        topology.start_gateway()
        frames = sniff(lan, 4)
    assert len(gratuitous_arps(frames, SNAT_V4)) == 3
    assert len(unsolicited_advertisements(frames, SNAT_V6)) == 3
    topology.gateway.finish()


@FAMILIES
def test_the_first_packet_to_a_cold_neighbour_is_not_lost(testbed, vip, snat, backend):
    for _ in range(3):
        testbed.host.ip("neigh", "flush", "dev", "lan0")
        testbed.host.ip("neigh", "flush", "dev", "wan0")
        for host in testbed.backends.values():
            host.ip("neigh", "flush", "dev", "eth0")
        testbed.client.ip("neigh", "flush", "dev", "wan")
        # One datagram, never repeated.
        assert ask_udp(testbed.client, vip, text=b"first")[3] == b"first"


@FAMILIES
def test_the_first_packets_of_a_gateway_without_neighbours_are_not_lost(lab, driver, vip, snat,
                                                                       backend):
    cold = Testbed(lab, driver)
    # It hears of its own addresses as of all others, and this sends nothing.
    wait_until(lambda: explained(cold, vip).get("verdict") in ("forward", "hold"), 5, "a route to backends")
    assert ask_udp(cold.client, vip, text=b"first")[3] == b"first"
    cold.gateway.finish()


@FAMILIES
def test_a_backend_with_a_new_mac_is_followed(testbed, vip, snat, backend):
    testbed.gateway.apply(web(numbers=[1]))
    assert ask_udp(testbed.client, vip)[0] == "backend1"
    host = testbed.backends[1]
    before = mac_of(host, "eth0")
    after = "02:00:00:00:" + before[-5:]
    time.sleep(1.2)  # the kernel holds a fresh entry for a second (locktime) against flapping
    try:
        host.sysctl("net.ipv4.conf.eth0.arp_notify", 1)
        host.sysctl("net.ipv6.conf.eth0.ndisc_notify", 1)
        host.ip("link", "set", "eth0", "address", after)
        wait_until(lambda: neighbour_mac(testbed.host, backend(1)) == after, 10,
                   "the kernel of the gateway knowing the new MAC")
        wait_until(lambda: answers(testbed, vip), 2, "an answer from the new MAC")
        assert after in explained(testbed, vip)["nextHop"]
    finally:
        host.ip("link", "set", "eth0", "address", before)
        for name in ("eth0",):
            host.add_address(name, f"{backend_v4(1)}/24")
            host.add_address(name, f"{backend_v6(1)}/64")
        testbed.host.ip("neigh", "flush", "dev", "lan0")


def answers(testbed, vip):
    try:
        return ask_udp(testbed.client, vip, seconds=0.3)[0] == "backend1"
    except OSError:
        return False


def explained(testbed, vip):
    client = "[2001:db8:2::2]:40000" if ":" in vip else "192.0.2.2:40000"
    return testbed.gateway.get("explain", "--from", client, "--to", f"[{vip}]:7" if ":" in vip else f"{vip}:7",
                               "--protocol", "udp")
