# SPDX-License-Identifier: Apache-2.0
"""A packet to a VIP reaches a backend and the answer comes back."""

import collections
import hashlib
import socket

import pytest

from load import ask_tcp, ask_udp, bracketed, can_ping, curl_headers, curl_many, url
from namespaces import wait_until
from nginx import LARGE_BYTES
from testbed import BACKENDS, name_of, web
from topology import (CLIENT_V4, CLIENT_V6, SNAT_V4, SNAT_V6, VIP_V4, VIP_V6, backend_v4,
                      backend_v6)

FAMILIES = pytest.mark.parametrize("vip, snat", [(VIP_V4, SNAT_V4), (VIP_V6, SNAT_V6)],
                                   ids=["ipv4", "ipv6"])
NAMES = {name_of(number) for number in BACKENDS}


@FAMILIES
def test_http_requests_spread_over_all_backends(testbed, vip, snat):
    answers = curl_many(testbed.client, url(vip), 150)
    assert sum(answers.values()) == 150
    assert set(answers) == NAMES
    # 50 expected of each; a binomial share below 25 is one in a million.
    assert min(answers.values()) >= 25


@FAMILIES
def test_a_backend_sees_the_snat_address_of_the_gateway(testbed, vip, snat):
    body, headers = curl_headers(testbed.client, url(vip))
    assert body in NAMES
    assert headers["x-client-address"] == snat
    assert 1024 <= int(headers["x-client-port"]) <= 65535


@FAMILIES
@pytest.mark.parametrize("ask", [ask_udp, ask_tcp], ids=["udp", "tcp"])
def test_echo_answers_over(testbed, vip, snat, ask):
    seen = collections.Counter()
    for number in range(60):
        text = b"%d " % number + b"x" * (number * 20)
        name, peer, _, rest = ask(testbed.client, vip, text=text)
        assert rest == text
        assert peer == snat
        seen[name] += 1
    assert set(seen) == NAMES


@FAMILIES
def test_one_udp_flow_stays_with_its_backend(testbed, vip, snat):
    with testbed.client.socket(socket.SOCK_DGRAM, vip) as client:
        client.settimeout(3)
        client.connect((vip, 7))
        answers = set()
        for number in range(50):
            client.send(b"%d" % number)
            name, _, port, rest = client.recv(2048).split(b" ", 3)
            assert rest == b"%d" % number
            answers.add((name, port))
    assert len(answers) == 1


@FAMILIES
def test_a_large_download_arrives_whole(testbed, vip, snat):
    expected = hashlib.sha256(bytes(range(256)) * (LARGE_BYTES // 256)).hexdigest()
    done = testbed.client.run("bash", "-c", "set -o pipefail; "
                              f"curl -sS --max-time 60 --globoff '{url(vip, path='/large')}'"
                              " | sha256sum")
    assert done.stdout.split()[0] == expected


@FAMILIES
def test_an_empty_datagram_is_forwarded(testbed, vip, snat):
    _, peer, _, rest = ask_udp(testbed.client, vip, text=b"")
    assert (peer, rest) == (snat, b"")


@FAMILIES
def test_the_host_of_the_gateway_reaches_the_vip(testbed, vip, snat):
    answers = curl_many(testbed.host, url(vip), 10)
    assert sum(answers.values()) == 10
    assert set(answers) <= NAMES
    assert ask_udp(testbed.host, vip)[1] == snat


@FAMILIES
def test_vip_and_snat_address_answer_ping(testbed, vip, snat):
    assert can_ping(testbed.client, vip, count=3)
    assert can_ping(testbed.backends[1], snat, count=3)


def test_the_gateways_own_addresses_answer_through_the_twins(testbed):
    for address in ("192.0.2.1", "2001:db8:2::1"):
        assert can_ping(testbed.client, address)
    for address in ("10.10.0.1", "2001:db8:10::1"):
        assert can_ping(testbed.backends[1], address)


@FAMILIES
def test_a_port_that_is_no_service_port_is_refused_and_counted(testbed, vip, snat):
    before = drops(testbed)
    with pytest.raises(ConnectionRefusedError):
        ask_udp(testbed.client, vip, port=4242)
    assert drops(testbed) > before


def drops(testbed):
    return sum(int(drop.get("packets", 0)) for drop in testbed.gateway.get("get", "drops")["drops"])


def test_a_weight_of_three_gets_three_times_the_flows(testbed):
    testbed.gateway.apply(web(fields={1: {"weight": 3}}))
    answers = curl_many(testbed.client, url(VIP_V4), 300)
    # 180 of 300 expected, standard deviation 8.5.
    assert 140 <= answers["backend1"] <= 220


def test_counters_of_service_and_backends_agree_with_what_was_sent(testbed):
    testbed.gateway.ctl("delete service web")
    testbed.gateway.apply(web())
    assert sum(curl_many(testbed.client, url(VIP_V4), 30).values()) == 30

    def opened():
        rows = testbed.gateway.get("get", "backends", "web")["backends"]
        return {row["address"]: int(row.get("flowsOpened", 0)) for row in rows
                if row["servicePort"] == "http"}

    wait_until(lambda: sum(opened().values()) == 30, 5, "30 flows counted on the backends")
    counters = testbed.gateway.get("get", "services")["services"][0]["counters"]
    assert int(counters["flowsOpened"]) == 30
    # SYN, ACK, request, FIN, ACK at least, and the like back.
    wait_until(lambda: packets(testbed, "packetsIn") >= 150 and
               packets(testbed, "packetsOut") >= 120, 5, "the packets of 30 requests counted")


def packets(testbed, which):
    services = testbed.gateway.get("get", "services")["services"]
    return int(services[0]["counters"].get(which, 0))


@pytest.mark.parametrize("source, vip, backend", [(CLIENT_V4, VIP_V4, backend_v4),
                                                  (CLIENT_V6, VIP_V6, backend_v6)],
                         ids=["ipv4", "ipv6"])
def test_explain_names_what_a_live_flow_has(testbed, source, vip, backend):
    with testbed.client.socket(socket.SOCK_STREAM, vip) as client:
        client.settimeout(3)
        client.connect((vip, 7))
        port = client.getsockname()[1]
        client.send(b"hello")
        name, peer, peer_port, _ = client.recv(2048).decode().split(" ", 3)
        number = int(name.removeprefix("backend"))
        told = testbed.gateway.get("explain", "--from", f"{bracketed(source)}:{port}",
                                   "--to", f"{bracketed(vip)}:7", "--protocol", "tcp")
    assert told["verdict"] == "forward"
    assert told["liveFlow"] is True
    assert told["service"]["name"] == "web"
    assert told["servicePort"] == "echo-tcp"
    assert told["backend"] == f"{bracketed(backend(number))}:7"
    assert told["snat"] == f"{bracketed(peer)}:{peer_port}"
    assert backend(number) in told["nextHop"] and "lan0" in told["nextHop"]
    assert int(told.get("lcore", 0)) in lcores_of(testbed)


def lcores_of(testbed):
    return [int(lcore.get("lcore", 0)) for lcore in testbed.gateway.get("status")["lcores"]]


def test_explain_gives_the_reason_of_a_drop(testbed):
    told = testbed.gateway.get("explain", "--from", f"{CLIENT_V4}:40000",
                               "--to", f"{VIP_V4}:4242", "--protocol", "tcp")
    assert told["verdict"] == "drop"
    reasons = {drop["reason"] for drop in testbed.gateway.get("get", "drops")["drops"]}
    assert told["dropReason"] in reasons
