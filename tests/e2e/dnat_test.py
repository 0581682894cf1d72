# SPDX-License-Identifier: Apache-2.0
"""Services whose backends see their clients' own addresses."""

import collections

import pytest

from load import Wrk, ask_tcp, ask_udp, curl_headers, curl_many, failures, url
from testbed import BACKENDS, name_of, web
from topology import CLIENT_V4, CLIENT_V6, SNAT_V4, SNAT_V6

KEPT_V4 = "203.0.113.40"
KEPT_V6 = "2001:db8:113::40"
FAMILIES = pytest.mark.parametrize("vip, client, snat", [(KEPT_V4, CLIENT_V4, SNAT_V4),
                                                         (KEPT_V6, CLIENT_V6, SNAT_V6)],
                                   ids=["ipv4", "ipv6"])


@pytest.fixture(autouse=True)
def kept(testbed):
    """The service, and backends that answer the clients' networks through the gateway."""
    manifest = web(name="kept", vips=(KEPT_V4, KEPT_V6))
    manifest["spec"]["forwarding"] = {"mode": "DNAT"}
    ways = (("192.0.2.0/24", "10.10.0.1"), ("2001:db8:2::/64", "2001:db8:10::1"))
    for backend in testbed.backends.values():
        for prefix, gateway in ways:
            backend.ip("route", "replace", prefix, "via", gateway)
    testbed.gateway.apply(manifest)
    before = testbed.gateway.drops()["transit"]
    yield manifest
    # A reply bears the client's address: where its flow is not known it is in transit.
    assert testbed.gateway.drops()["transit"] == before, "a reply came to the wrong lcore"
    testbed.gateway.ctl("delete service kept")
    for backend in testbed.backends.values():
        for prefix, _ in ways:
            backend.ip("route", "del", prefix)


@FAMILIES
def test_a_backend_sees_the_client_itself(testbed, vip, client, snat):
    body, headers = curl_headers(testbed.client, url(vip))
    assert body in {name_of(number) for number in BACKENDS}
    assert headers["x-client-address"] == client


@FAMILIES
@pytest.mark.parametrize("ask", [ask_udp, ask_tcp], ids=["udp", "tcp"])
def test_echoes_of_many_flows_come_back(testbed, vip, client, snat, ask):
    seen = collections.Counter()
    for number in range(40):
        name, peer, _, rest = ask(testbed.client, vip, text=b"%d" % number)
        assert (peer, rest) == (client, b"%d" % number)
        seen[name] += 1
    assert set(seen) == {name_of(number) for number in BACKENDS}


@FAMILIES
def test_a_backend_reaches_its_own_vip_as_full_nat(testbed, vip, client, snat):
    backend = testbed.backends[1]
    backend.ip("route", "replace", vip, "via", "10.10.0.1" if ":" not in vip else "2001:db8:10::1")
    for _ in range(12):  # itself, and its neighbours, which would answer it directly
        _, headers = curl_headers(backend, url(vip))
        assert headers["x-client-address"] == snat
    backend.ip("route", "del", vip)


@FAMILIES
def test_a_backend_that_drains_under_load_fails_no_request(testbed, kept, vip, client, snat):
    load = Wrk(testbed.client, url(vip), seconds=4)
    drained = web(name="kept", vips=(KEPT_V4, KEPT_V6), fields={1: {"conditions": {"ready": False}}})
    drained["spec"]["forwarding"] = {"mode": "DNAT"}
    testbed.gateway.apply(drained)
    assert failures(load.finish()) == {}
    assert name_of(1) not in curl_many(testbed.client, url(vip), 20)


def test_a_flow_of_it_shows_the_client_twice(testbed):
    ask_udp(testbed.client, KEPT_V4)
    flows = testbed.gateway.get("get", "flows", "--service", "kept", "--client",
                                CLIENT_V4)["flows"]
    assert flows and all(flow["snat"] == flow["client"] for flow in flows)


def test_it_is_printed_with_its_mode(testbed):
    assert testbed.gateway.get("get", "service", "kept")["spec"]["forwarding"]["mode"] == "DNAT"
