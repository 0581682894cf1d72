# SPDX-License-Identifier: Apache-2.0
"""Who speaks for a VIP: two gateways on one segment, roles, conflicts, draining."""

import socket

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from gateway import service
from load import url
from namespaces import Lab, wait_until
from neighbours_test import gratuitous_arps, mac_of, sniff, unsolicited_advertisements
from pair import Pair
from topology import CLIENT_V4, CLIENT_V6, VIP_V4, VIP_V6, backend_v4, backend_v6


def web():
    return service("web", [VIP_V4, VIP_V6], [("http", "TCP", 80, 80)], [backend_v4(1), backend_v6(1)])


@pytest.fixture(scope="module")
def shared_pair(driver):
    with Lab() as lab:
        made = Pair(lab, driver, {"two": {"role": "standby"}})
        for gateway in made.gateways.values():
            gateway.apply(web())
        yield made
        made.finish()


@pytest.fixture
def pair(shared_pair):
    """`one` active, `two` standby, neither draining."""
    shared_pair.gateways["two"].ctl("role", "standby")
    shared_pair.gateways["one"].ctl("role", "active")
    shared_pair.gateways["one"].ctl("undrain")
    shared_pair.client.ip("neigh", "flush", "dev", "wan")
    return shared_pair


def who_has(pair, address):
    """The MACs that answer for it within a second."""
    mac = mac_of(pair.client, "wan")
    if ":" in address:
        asked = (Ether(src=mac, dst="33:33:ff:00:00:10") / IPv6(src=CLIENT_V6, dst="ff02::1:ff00:10", hlim=255)
                 / ICMPv6ND_NS(tgt=address) / ICMPv6NDOptSrcLLAddr(lladdr=mac))
    else:
        asked = (Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
                 / ARP(op=1, hwsrc=mac, psrc=CLIENT_V4, pdst=address))
    raw = pair.client.frames("wan")
    raw.send(bytes(asked))
    frames = sniff(raw, 1)
    raw.close()
    arps = {frame[ARP].hwsrc for frame in frames
            if ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == address}
    advertised = {frame.src for frame in frames
                  if ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].tgt == address}
    return arps | advertised


def fetch(pair, address, seconds=1):
    return pair.client.run("curl", "-sf", "--max-time", str(seconds), url(address), check=False).returncode


def port_mac(pair, name):
    return mac_of(pair.hosts[name], "wan0")


@pytest.mark.parametrize("address", [VIP_V4, VIP_V6])
def test_exactly_the_active_one_answers(pair, address):
    assert who_has(pair, address) == {port_mac(pair, "one")}
    assert fetch(pair, address, 3) == 0


def test_a_standby_does_not_answer_pings_either(pair):
    two = port_mac(pair, "two")
    pair.client.ip("neigh", "replace", VIP_V4, "lladdr", two, "dev", "wan")
    assert pair.client.run("ping", "-c1", "-W1", VIP_V4, check=False).returncode != 0
    pair.client.ip("neigh", "del", VIP_V4, "dev", "wan")
    assert pair.client.run("ping", "-c1", "-W1", VIP_V4, check=False).returncode == 0


@pytest.mark.parametrize("address, announced", [(VIP_V4, gratuitous_arps),
                                                (VIP_V6, unsolicited_advertisements)])
def test_after_a_hand_over_the_next_request_succeeds_within_a_second(pair, address, announced):
    assert fetch(pair, address) == 0  # the client knows the MAC of the first one
    raw = pair.client.frames("wan")
    pair.gateways["one"].ctl("role", "standby")
    pair.gateways["two"].ctl("role", "active")
    assert fetch(pair, address) == 0
    frames = sniff(raw, 3)
    raw.close()
    told = [frame for frame in announced(frames, address) if frame.src == port_mac(pair, "two")]
    assert len(told) == 3
    assert who_has(pair, address) == {port_mac(pair, "two")}
    assert pair.gateways["two"].get("status")["role"] == "active"
    assert pair.gateways["one"].get("status")["role"] == "standby"
    events = pair.gateways["two"].get("get", "events")["events"]
    late = [event for event in events if event["reason"] == "AddressConflict"
            and address in event["message"] and event["lastSeen"] > events[-1]["firstSeen"]]
    assert not late, "the one that has given up announces no more"


def test_another_mac_that_claims_a_vip_is_an_event_and_counted(pair):
    one = pair.gateways["one"]
    before = int(one.get("status").get("addressConflicts", 0))
    pair.gateways["two"].ctl("role", "active")
    wait_until(lambda: int(one.get("status").get("addressConflicts", 0)) > before, 5, "the conflict counted")
    events = one.get("get", "events", "web")["events"]
    told = [event for event in events if event["reason"] == "AddressConflict"]
    assert any(VIP_V4 in event["message"] and port_mac(pair, "two") in event["message"] for event in told)
    assert told[0]["type"] == "Warning"
    described = one.ctl("describe", "svc", "web").stdout
    assert "AddressConflict" in described and "LoadBalancer Ingress" in described


def test_a_claim_from_the_wire_of_an_ipv6_address_is_one_too(pair):
    one = pair.gateways["one"]
    mac = "02:00:00:00:be:ef"
    claim = (Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=VIP_V6, dst="ff02::1", hlim=255)
             / ICMPv6ND_NA(tgt=VIP_V6, O=1, S=0, R=0))
    raw = pair.client.frames("wan")
    raw.send(bytes(claim))
    raw.close()
    wait_until(lambda: any(mac in event["message"] for event in one.get("get", "events").get("events", [])),
               5, "the claim told")


def test_draining_takes_no_new_flows_and_says_what_is_left(pair):
    one = pair.gateways["one"]
    held = pair.client.socket(socket.SOCK_STREAM, VIP_V4)
    held.connect((VIP_V4, 80))
    late = one.ctl("drain", "--deadline", "1s", check=False)
    assert late.returncode == 1
    assert "left: web" in late.stderr
    assert fetch(pair, VIP_V4) != 0, "no new flow"
    assert one.drops()["draining"] > 0
    held.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert b"200 OK" in held.recv(4096), "what was open goes on"
    held.close()
    assert "established" not in one.ctl("get", "flows").stdout
    done = one.ctl("drain", "--deadline", "20s")
    assert "drained" in done.stdout
    assert "draining" in one.ctl("status").stdout
    one.ctl("undrain")
    assert fetch(pair, VIP_V4, 3) == 0
    reasons = [event["reason"] for event in one.get("get", "events")["events"]]
    assert "DrainStarted" in reasons and "DrainEnded" in reasons


def test_a_role_that_is_none_is_refused(pair):
    refused = pair.gateways["one"].ctl("role", "master", check=False)
    assert refused.returncode == 2 and "active" in refused.stderr
