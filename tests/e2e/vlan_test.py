# SPDX-License-Identifier: Apache-2.0
"""A VLAN of a port, by tagged frames on the wire; the client is Scapy, as the kernel here has no
VLAN device."""

import json
import select
import time

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from load import curl_many, url
from namespaces import Lab
from testbed import Testbed
from topology import VIP_PREFIXES, VIP_V4, Topology

VLAN = 100
STATION, MAC = "198.18.0.5", "02:00:00:00:05:05"


class Tagged(Topology):
    """With VLAN 100 of wan0, in which the VIPs are announced too."""

    def config(self):
        config = super().config()
        config["ports"].append({"name": f"wan0.{VLAN}", "announce_on": list(VIP_PREFIXES)})
        return config

    def start_gateway(self):
        gateway = super().start_gateway()
        self.gateway_host.add_address(f"wan0.{VLAN}", "198.18.0.1/24")
        return gateway


@pytest.fixture(scope="module")
def vlan_testbed(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver, topology=Tagged)
        yield testbed
        testbed.gateway.finish()


def talk(testbed, frame, wanted, seconds=5):
    """Sends, answers ARP requests for the station meanwhile, and returns the first frame that
    `wanted` is true of; all of it tagged."""
    raw = testbed.client.frames("wan")
    raw.send(bytes(Ether(src=MAC, dst=frame.dst) / Dot1Q(vlan=VLAN) / frame.payload))
    deadline = time.monotonic() + seconds
    with raw:
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([raw], [], [], left)[0]:
                break
            heard = Ether(raw.recv(65536))
            if ARP in heard and heard[ARP].op == 1 and heard[ARP].pdst == STATION:
                raw.send(bytes(Ether(src=MAC, dst=heard.src) / Dot1Q(vlan=VLAN) / ARP(
                    op=2, hwsrc=MAC, psrc=STATION, hwdst=heard[ARP].hwsrc, pdst=heard[ARP].psrc)))
            elif heard.src != MAC and wanted(heard):
                return heard
    return None


def gateway_mac(testbed):
    frame = Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc=STATION, pdst=VIP_V4)
    answer = talk(testbed, frame, lambda heard: ARP in heard and heard[ARP].op == 2)
    assert answer is not None and answer[ARP].psrc == VIP_V4
    return answer[ARP].hwsrc


def twin_mac(testbed):
    return json.loads(testbed.host.ip("-j", "link", "show", "wan0.100").stdout)[0]["address"]


def test_a_vip_is_answered_in_the_vlan(vlan_testbed):
    assert gateway_mac(vlan_testbed) == twin_mac(vlan_testbed)


def test_a_request_from_the_vlan_is_answered_into_it(vlan_testbed):
    to = Ether(dst=gateway_mac(vlan_testbed))
    request = to / IP(src=STATION, dst=VIP_V4) / UDP(sport=4000, dport=7) / Raw(b"hello")
    answer = talk(vlan_testbed, request, lambda heard: UDP in heard)
    assert answer is not None, vlan_testbed.gateway.ctl("get drops").stdout
    assert (answer[IP].src, answer[UDP].sport, answer[UDP].dport) == (VIP_V4, 7, 4000)
    assert bytes(answer[UDP].payload).endswith(b"hello")


def test_the_twin_of_the_vlan_answers_for_the_host(vlan_testbed):
    to = Ether(dst=twin_mac(vlan_testbed))
    request = to / IP(src=STATION, dst="198.18.0.1") / ICMP(id=5) / Raw(b"ping")
    answer = talk(vlan_testbed, request, lambda heard: ICMP in heard and heard[ICMP].type == 0)
    assert answer is not None


def test_untagged_clients_are_served_beside_it(vlan_testbed):
    assert sum(curl_many(vlan_testbed.client, url(VIP_V4), 20).values()) == 20


def test_another_vlan_is_dropped_by_name(vlan_testbed):
    before = drops(vlan_testbed)
    raw = vlan_testbed.client.frames("wan")
    with raw:
        raw.send(bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=VLAN + 1) / ARP(
            op=1, hwsrc=MAC, psrc=STATION, pdst=VIP_V4)))
    deadline = time.monotonic() + 5
    while drops(vlan_testbed) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert drops(vlan_testbed) == before + 1


def drops(testbed):
    return next(int(row.get("packets", 0)) for row in testbed.gateway.get("get", "drops")["drops"]
                if row["reason"] == "vlan")


def test_get_ports_names_the_vlan_and_its_parent(vlan_testbed):
    rows = {row["name"]: row for row in vlan_testbed.gateway.get("get", "ports")["ports"]}
    assert rows["wan0.100"]["device"] == "VLAN 100 of wan0"
    assert rows["wan0.100"]["twin"] == "wan0.100"
