# SPDX-License-Identifier: Apache-2.0
"""Two lcores behind a NIC that steers: by RSS of whole tuples, with a key of its own, by RSS of one
side, by that and rules for VIPs, by rules alone, or not at all. (SLUICE_E2E_NIC runs all of the
end-to-end tests over one of them; `virtio` is a NIC of a virtual machine, and none of ours.)"""

import pytest

import gateway
from load import ask_udp, curl_many, url
from namespaces import Lab, wait_until
from testbed import BACKENDS, Testbed, name_of, web
from topology import CLIENT_V4, CLIENT_V6, SNAT_V4, SNAT_V6, VIP_V4, VIP_V6

KEPT_V4, KEPT_V6 = "203.0.113.40", "2001:db8:113::40"
NAMES = {name_of(number) for number in BACKENDS}


NICS = [gateway.VIRTIO] if gateway.NIC == gateway.VIRTIO else list(gateway.NICS)


@pytest.fixture(scope="module", params=NICS)
def steered(driver, request):
    """(the NIC, a testbed behind it)"""
    patch = pytest.MonkeyPatch()
    for name in ("NIC", "SLUICED", "LCORES"):
        patch.setattr(gateway, name, getattr(gateway, name))
    patch.setenv("SLUICE_TEST_NIC", request.param)
    gateway.choose_nic(request.param)
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        yield request.param, testbed
        testbed.gateway.finish()
    patch.undo()


def handed_over(testbed):
    status = testbed.gateway.get("status")
    return sum(int(lcore.get("handedOver", 0)) for lcore in status["lcores"])


def ports(testbed):
    return {port["name"]: port for port in testbed.gateway.get("get", "ports")["ports"]}


def test_each_port_tells_its_way(steered):
    nic, testbed = steered
    for port in ports(testbed).values():
        assert port["steering"].split(":")[0] == gateway.STEERING[nic], port
        if nic == "none":
            assert "as configured" in port["steering"]
        else:
            assert any(request.get("accepted") for request in port["requests"]), port


@pytest.mark.parametrize("vip, snat", [(VIP_V4, SNAT_V4), (VIP_V6, SNAT_V6)],
                         ids=["ipv4", "ipv6"])
def test_traffic_comes_to_the_right_lcore_or_is_handed_over(steered, vip, snat):
    nic, testbed = steered
    before = handed_over(testbed)
    answers = curl_many(testbed.client, url(vip), 100)
    assert sum(answers.values()) == 100
    assert set(answers) == NAMES
    # Their ports differ in all bits, so that both lcores have some whatever the key; curl's go up by few.
    for number in range(200):
        _, peer, _, rest = ask_udp(testbed.client, vip, text=b"%d" % number)
        assert (peer, rest) == (snat, b"%d" % number)
    handed = handed_over(testbed) - before
    if nic == "none":
        assert handed > 100
    else:
        assert handed == 0
    lcores = testbed.gateway.get("status")["lcores"]
    assert all(int(lcore["packets"]) > 100 for lcore in lcores) or nic == "none"


@pytest.mark.parametrize("vip, client", [(KEPT_V4, CLIENT_V4), (KEPT_V6, CLIENT_V6)],
                         ids=["ipv4", "ipv6"])
def test_clients_that_backends_see_need_no_handing_over_where_one_side_decides(
        steered, vip, client):
    """The ports of `one_arm` face both sides: each may bring clients' packets and replies."""
    nic, testbed = steered
    manifest = web(name="kept", vips=(KEPT_V4, KEPT_V6))
    manifest["spec"]["forwarding"] = {"mode": "DNAT"}
    way = ("2001:db8:2::/64", "2001:db8:10::1") if ":" in vip else ("192.0.2.0/24", "10.10.0.1")
    for backend in testbed.backends.values():
        backend.ip("route", "replace", way[0], "via", way[1])
    testbed.gateway.apply(manifest)
    if nic == "one_arm":
        told = {request["what"]: request for request in ports(testbed)["wan0"]["requests"]}
        assert told["rss rules for VIPs, 4 of 4"]["accepted"]
    before = handed_over(testbed), testbed.gateway.drops()["transit"]
    for number in range(60):
        _, peer, _, rest = ask_udp(testbed.client, vip, text=b"%d" % number)
        assert (peer, rest) == (client, b"%d" % number)
    handed, transit = handed_over(testbed) - before[0], testbed.gateway.drops()["transit"]
    assert transit == before[1], "a reply came to the wrong lcore"
    assert handed == 0 or nic not in ("sides", "one_arm")
    testbed.gateway.ctl("delete service kept")
    for backend in testbed.backends.values():
        backend.ip("route", "del", way[0])


def test_the_devices_hashes_were_compared_and_found_equal(steered):
    nic, testbed = steered
    for port in ports(testbed).values():
        assert int(port.get("hashesDifferent", 0)) == 0
        # DPDK's virtio driver tells no hash.
        assert (int(port.get("hashesEqual", 0)) > 0) == (nic not in ("rules", "none", "virtio"))


def test_a_denied_client_is_dropped_by_a_nic_that_has_rules(steered):
    nic, testbed = steered
    manifest = web()
    manifest["spec"]["forwarding"] = {"denySourceRanges": [f"{CLIENT_V4}/32"]}
    testbed.gateway.apply(manifest)
    try:
        with pytest.raises(Exception):
            ask_udp(testbed.client, VIP_V4, text=b"denied")
        if nic in ("rules", "one_arm"):
            assert any("drop rules for denied sources, 3 of 3" == request["what"]
                       for request in ports(testbed)["wan0"]["requests"])
    finally:
        testbed.gateway.apply(web())
    assert ask_udp(testbed.client, VIP_V4, text=b"again")[3] == b"again", "the client is let in again"
