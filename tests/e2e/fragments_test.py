# SPDX-License-Identifier: Apache-2.0
"""Datagrams larger than a packet: the kernel's stacks at both ends cut them and put them together,
Scapy sends what no honest stack does."""

import contextlib
import itertools
import socket

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether

from load import ask_udp
from namespaces import Lab, wait_until
from testbed import Testbed
from topology import CLIENT_V4, CLIENT_V6, VIP_V4, VIP_V6, Topology

FAMILIES = pytest.mark.parametrize("vip", [VIP_V4, VIP_V6], ids=["ipv4", "ipv6"])
# The driver asks the kernel to put IPv4 fragments together (PACKET_FANOUT_FLAG_DEFRAG), which then
# do not fit a frame any more.
DRIVER_MEETS_FRAGMENTS = {VIP_V4: "af_xdp", VIP_V6: "af_xdp af_packet"}
NARROW_MTU = 1300
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0


@pytest.fixture(autouse=True)
def skip_what_the_driver_hides(request, driver):
    vip = request.node.callspec.params.get("vip") if hasattr(request.node, "callspec") else None
    if vip is not None and driver not in DRIVER_MEETS_FRAGMENTS[vip]:
        pytest.skip("AF_PACKET never shows IPv4 fragments to DPDK")


def drops(gateway, reason):
    return next(int(row.get("packets", 0)) for row in gateway.get("get", "drops")["drops"]
                if row["reason"] == reason)


def ask(namespace, vip, text, options=(), seconds=3):
    """One datagram to the echo service and the whole of its answer."""
    with namespace.socket(socket.SOCK_DGRAM, vip) as client:
        for option in options:
            client.setsockopt(*option)
        client.settimeout(seconds)
        client.sendto(text, (vip, 7))
        return client.recv(65536)


@FAMILIES
@pytest.mark.parametrize("size", [1473, 3000, 9000, 30_000, 60_000])
def test_a_large_datagram_goes_there_and_back_whole(testbed, vip, size):
    text = bytes(number % 251 for number in range(size))
    assert ask(testbed.client, vip, text).endswith(b" " + text)


@FAMILIES
def test_many_clients_with_large_datagrams_get_their_own_answers(testbed, vip):
    clients = [testbed.client.socket(socket.SOCK_DGRAM, vip) for _ in range(20)]
    with contextlib.ExitStack() as stack:
        for number, client in enumerate(clients):
            stack.enter_context(client)
            client.settimeout(3)
            client.sendto(b"%03d" % number * 2000, (vip, 7))
        for number, client in enumerate(clients):
            assert client.recv(65536).endswith(b" " + b"%03d" % number * 2000)


@FAMILIES
def test_a_large_ping_is_answered(testbed, vip):
    testbed.client.run("ping", "-c", 3, "-i", "0.2", "-W", 2, "-s", 4000, vip)


class Sender:
    """Frames from the client's own addresses, past its kernel, which gets the answers."""

    identifications = itertools.count(77)

    def __init__(self, testbed, vip):
        self.testbed = testbed
        self.vip = vip
        self.identification = next(self.identifications)
        self.answers = testbed.client.socket(socket.SOCK_DGRAM, vip)
        self.answers.settimeout(2)
        self.answers.bind((CLIENT_V4 if vip == VIP_V4 else CLIENT_V6, 0))
        self.port = self.answers.getsockname()[1]
        ask_udp(testbed.client, vip)  # so that neighbours know each other
        self.raw = testbed.client.frames("wan")
        self.ethernet = Ether(
            src=self.mac_of(testbed.client, "wan"), dst=self.mac_of(testbed.host, "wan0"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answers.close()
        self.raw.close()

    @staticmethod
    def mac_of(namespace, device):
        return namespace.run("cat", f"/sys/class/net/{device}/address").stdout.strip()

    def fragments(self, text, size=600):
        """IP packets of one datagram; an identification is used again by nobody."""
        udp = UDP(sport=self.port, dport=7) / text
        if self.vip == VIP_V4:
            whole = IP(src=CLIENT_V4, dst=self.vip, id=self.identification) / udp
            return fragment(IP(bytes(whole)), fragsize=size)
        whole = IPv6(src=CLIENT_V6, dst=self.vip) / IPv6ExtHdrFragment(id=self.identification) / udp
        return fragment6(whole, size)

    def send(self, packets):
        for packet in packets:
            self.raw.send(bytes(self.ethernet / packet))

    def answer(self):
        return self.answers.recv(65536)

    def is_silent(self):
        self.answers.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            self.answers.recv(65536)
            return False
        return True


ORDERS = {
    "reversed": lambda parts: parts[::-1],
    "last first": lambda parts: parts[-1:] + parts[:-1],
    "first last": lambda parts: parts[1:] + parts[:1],
    "odd ones first": lambda parts: parts[1::2] + parts[::2],
    "each twice": lambda parts: [part for part in parts for _ in range(2)],
}


@FAMILIES
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_fragments_in_any_order_reach_the_backend_as_one_datagram(testbed, vip, order):
    text = bytes(number % 253 for number in range(5000))
    with Sender(testbed, vip) as sender:
        sender.send(order(sender.fragments(text)))
        assert sender.answer().endswith(b" " + text)


@FAMILIES
def test_overlapping_fragments_reach_nobody(testbed, vip):
    before = drops(testbed.gateway, "fragment_overlap")
    with Sender(testbed, vip) as sender:
        parts = sender.fragments(b"x" * 2000)
        other = sender.fragments(b"y" * 2000, 640)
        sender.send([parts[0], other[1], parts[2], parts[3]])
        assert sender.is_silent()
    assert drops(testbed.gateway, "fragment_overlap") > before


@FAMILIES
def test_later_fragments_without_a_first_one_wait_and_are_dropped(testbed, vip):
    before = drops(testbed.gateway, "fragment_expired")
    with Sender(testbed, vip) as sender:
        sender.send(sender.fragments(b"x" * 2000)[1:])

    def held():
        return sum(int(lcore.get("heldFragments", 0))
                   for lcore in testbed.gateway.get("status")["lcores"])
    assert wait_until(held, 2, "fragments that wait") >= 3
    wait_until(lambda: drops(testbed.gateway, "fragment_expired") >= before + 3, 10, "their end")
    assert held() == 0


def test_a_packet_with_ipv6_options_is_carried(testbed):
    with Sender(testbed, VIP_V6) as sender:
        sender.send([IPv6(src=CLIENT_V6, dst=VIP_V6) / IPv6ExtHdrDestOpt() /
                     UDP(sport=sender.port, dport=7) / b"options"])
        assert sender.answer().endswith(b" options")


def test_a_source_route_is_dropped_by_name(testbed):
    before = drops(testbed.gateway, "ipv4_options")
    route = b"\x83\x07\x04\x0a\x0a\x00\x0b\x00"
    with Sender(testbed, VIP_V4) as sender:
        packet = IP(src=CLIENT_V4, dst=VIP_V4, options=[]) / UDP(sport=sender.port, dport=7) / b"r"
        whole = bytes(packet)
        header = bytearray(whole[:20] + route)
        header[0] = 0x47
        header[2:4] = (len(whole) + len(route)).to_bytes(2, "big")
        header[10:12] = b"\0\0"
        rebuilt = IP(bytes(header) + whole[20:])
        del rebuilt.chksum
        sender.send([rebuilt])
        assert sender.is_silent()
    assert drops(testbed.gateway, "ipv4_options") == before + 1


class NarrowTopology(Topology):
    """The backends' side takes 1,300 octets a packet."""

    def config(self):
        config = super().config()
        config["ports"][1]["mtu"] = NARROW_MTU
        return config

    def start_gateway(self):
        gateway = super().start_gateway()
        for backend in self.backends.values():
            backend.ip("link", "set", "eth0", "mtu", NARROW_MTU)
        return gateway


@pytest.fixture(scope="module")
def narrow(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver, NarrowTopology)
        yield testbed
        testbed.gateway.finish()


def test_what_is_too_large_for_the_backends_side_goes_there_in_fragments(narrow):
    text = bytes(number % 251 for number in range(1450))
    may_be_cut = (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    assert ask(narrow.client, VIP_V4, text, [may_be_cut]).endswith(b" " + text)
    cut = sum(int(lcore.get("fragmented", 0)) for lcore in narrow.gateway.get("status")["lcores"])
    assert cut >= 1


@pytest.mark.parametrize("vip", [VIP_V4], ids=["ipv4"])
def test_fragments_too_large_for_the_backends_side_are_cut_again(narrow, vip):
    text = bytes(number % 251 for number in range(8000))
    may_be_cut = (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    assert ask(narrow.client, vip, text, [may_be_cut]).endswith(b" " + text)


def test_an_ipv6_sender_is_told_and_sends_smaller_fragments(narrow):
    text = bytes(number % 251 for number in range(4000))
    with pytest.raises(TimeoutError):
        ask(narrow.client, VIP_V6, text, seconds=0.5)
    assert ask(narrow.client, VIP_V6, text).endswith(b" " + text)
