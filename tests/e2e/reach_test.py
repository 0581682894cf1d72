# SPDX-License-Identifier: Apache-2.0
"""Whom a service reaches: names that DNS knows, traffic policies, selectors."""

import json

import pytest

from dnsmasq import Dns
from gateway import service
from load import curl_headers, curl_many, url
from namespaces import Lab, wait_until
from testbed import Testbed, both_families
from topology import BACKENDS, CLIENT_V4, CLIENT_V6, SNAT_V4, backend_v4, backend_v6

VIPS = ("203.0.113.90", "2001:db8:113::90")
NAME = "api.example.com"


@pytest.fixture(scope="module")
def reached(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        testbed.gateway.finish()
        testbed.gateway.config |= {"cluster_ip_ranges": ["10.96.0.0/24"], "return_path": True,
                                   "dns_servers": ["127.0.0.1"]}
        testbed.topology.start_gateway()
        testbed.client.ip("route", "add", "10.96.0.0/24", "via", "192.0.2.1")
        for backend in testbed.backends.values():  # answers to clients go through the gateway
            backend.ip("route", "add", "192.0.2.0/24", "via", "10.10.0.1")
            backend.ip("-6", "route", "add", "2001:db8:2::/64", "via", "2001:db8:10::1")
        testbed.dns = Dns(testbed.host, lab.directory).start()
        yield testbed
        testbed.gateway.finish()


@pytest.fixture
def gateway(reached):
    reached.gateway.clear()
    if reached.dns.process is None:
        reached.dns.start()
    return reached.gateway


def external(name="partner", host=NAME, vips=VIPS, **spec):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "annotations": {"sluice.dev/expose-external-name": "true"}},
            "spec": {"type": "ExternalName", "externalName": host, "loadBalancerIPs": list(vips),
                     "ports": [{"port": 9000, "targetPort": 80}]} | spec}


def web(numbers=BACKENDS, **spec):
    made = service("web", VIPS, [("http", "TCP", 9000, 80)], both_families(numbers))
    made["spec"] |= spec
    return made


def answers(reached, address, count=12):
    """Which backends answer, and how often."""
    return curl_many(reached.client, url(address, port=9000), count)


def active(gateway, name="partner"):
    rows = gateway.get("get", "backends", name).get("backends", [])
    return {row["address"] for row in rows if row["state"] == "active"}


def reasons(gateway, name):
    return [event["reason"] for event in gateway.get("get", "events", name).get("events", [])]


def fetch(reached, address):
    return reached.client.run("curl", "-sf", "--max-time", "2", url(address, port=9000),
                              check=False).returncode


def test_the_addresses_of_a_name_are_the_backends_of_its_vips_and_followed(reached, gateway):
    reached.dns.write({NAME: [backend_v4(1), backend_v6(2)]})
    gateway.apply(external())
    wait_until(lambda: active(gateway) == {backend_v4(1), backend_v6(2)}, 15, "the name resolved")
    assert set(answers(reached, VIPS[0])) == {"backend1"}
    assert set(answers(reached, VIPS[1])) == {"backend2"}
    reached.dns.write({NAME: [backend_v4(2), backend_v4(3), backend_v6(3)]})
    wait_until(lambda: active(gateway) == {backend_v4(2), backend_v4(3), backend_v6(3)}, 15,
               "the new records followed")
    assert set(answers(reached, VIPS[0], 30)) == {"backend2", "backend3"}
    assert set(answers(reached, VIPS[1])) == {"backend3"}


def test_without_an_answer_the_last_addresses_stay_and_an_alarm_is_raised(reached, gateway):
    reached.dns.write({NAME: [backend_v4(1)]})
    gateway.apply(external("kept"))
    wait_until(lambda: active(gateway, "kept") == {backend_v4(1)}, 15, "the name resolved")
    reached.dns.stop()
    wait_until(lambda: "NameNotResolved" in reasons(gateway, "kept"), 20, "the alarm")
    assert fetch(reached, VIPS[0]) == 0
    reached.dns.write({NAME: [backend_v4(2)]})
    reached.dns.start()
    wait_until(lambda: active(gateway, "kept") == {backend_v4(2)}, 15, "the server heard again")


def test_a_name_that_has_no_address_any_more_keeps_the_last_ones_too(reached, gateway):
    reached.dns.write({NAME: [backend_v4(1)]})
    gateway.apply(external("gone"))
    wait_until(lambda: active(gateway, "gone") == {backend_v4(1)}, 15, "the name resolved")
    reached.dns.write({})
    wait_until(lambda: "NameNotResolved" in reasons(gateway, "gone"), 20, "the alarm")
    assert fetch(reached, VIPS[0]) == 0


def test_a_name_that_never_resolves_is_told_and_disturbs_nobody(reached, gateway):
    reached.dns.write({NAME: [backend_v4(1)]})
    gateway.apply(external())
    gateway.apply(external("lost", "nowhere.example.com", ["203.0.113.91"]))
    wait_until(lambda: "NameNotResolved" in reasons(gateway, "lost"), 20, "the alarm")
    assert "no address" in gateway.ctl("describe", "svc", "lost").stdout
    assert fetch(reached, "203.0.113.91") != 0
    wait_until(lambda: active(gateway) == {backend_v4(1)}, 15, "the other resolved")
    assert fetch(reached, VIPS[0]) == 0


def test_a_changed_name_is_followed_instead(reached, gateway):
    reached.dns.write({NAME: [backend_v4(1)], "other.example.com": [backend_v4(2)]})
    gateway.apply(external())
    wait_until(lambda: active(gateway) == {backend_v4(1)}, 15, "the name resolved")
    gateway.apply(external(host="other.example.com"))
    wait_until(lambda: active(gateway) == {backend_v4(2)}, 15, "the other name resolved")


def test_what_is_shown_of_a_name_can_be_applied_again(reached, gateway):
    reached.dns.write({NAME: [backend_v4(1)]})
    gateway.apply(external())
    wait_until(lambda: active(gateway), 15, "the name resolved")
    text = gateway.ctl("get", "service", "partner", "-o", "yaml").stdout
    assert backend_v4(1) in text and "endpoints" not in text.split("status:")[0]
    assert "unchanged" in gateway.ctl("apply", "-f", "-", input=text).stdout


def test_expose_takes_a_name(reached, gateway):
    reached.dns.write({NAME: [backend_v4(3)]})
    gateway.ctl("expose", "partner", "--port", "9000", "--target-port", "80", "--type", "ExternalName",
                "--external-name", NAME, "--load-balancer-ip", VIPS[0])
    wait_until(lambda: active(gateway) == {backend_v4(3)}, 15, "the name resolved")
    assert fetch(reached, VIPS[0]) == 0


def test_a_name_without_the_annotation_is_refused(gateway):
    plain = external()
    del plain["metadata"]["annotations"]
    refused = gateway.apply(plain, check=False)
    assert refused.returncode != 0 and "sluice.dev/expose-external-name" in refused.stderr


@pytest.mark.parametrize("vip, client", [(VIPS[0], CLIENT_V4), (VIPS[1], CLIENT_V6)])
def test_an_external_policy_of_local_keeps_the_clients_address(reached, gateway, vip, client):
    gateway.apply(web(externalTrafficPolicy="Local"))
    assert curl_headers(reached.client, url(vip, port=9000))[1]["x-client-address"] == client
    assert "ClientAddressNotPreserved" not in reasons(gateway, "web")
    gateway.apply(web())
    assert curl_headers(reached.client, url(vip, port=9000))[1]["x-client-address"] != client


def test_an_external_policy_that_cannot_be_had_is_told(reached, gateway):
    gateway.apply(web(externalTrafficPolicy="Local", forwarding={"mode": "FULL_NAT"}))
    assert "ClientAddressNotPreserved" in reasons(gateway, "web")
    assert curl_headers(reached.client, url(VIPS[0], port=9000))[1]["x-client-address"] == SNAT_V4


def test_an_internal_policy_of_local_drops_at_the_cluster_address_alone(reached, gateway):
    gateway.apply(web(internalTrafficPolicy="Local"))
    shown = json.loads(gateway.ctl("get", "services", "web", "-o", "json").stdout)
    assert fetch(reached, shown["spec"]["clusterIP"]) == 28, "silence"
    assert gateway.drops()["traffic_policy"] > 0
    for frontend in json.loads(gateway.ctl("get", "services", "web", "-o", "json").stdout)["status"]["frontends"]:
        silent = frontend["address"] == shown["spec"]["clusterIP"]
        assert frontend.get("served", False) != silent, frontend
        assert not silent or "internalTrafficPolicy is Local" in frontend["reason"], frontend
    assert fetch(reached, VIPS[0]) == 0
    gateway.apply(web())
    assert fetch(reached, shown["spec"]["clusterIP"]) == 0


def test_a_selector_picks_backends_by_their_labels(reached, gateway):
    made = web(selector={"color": "blue"})
    for endpoint in made["spec"]["endpoints"]:
        endpoint["labels"] = {"color": "blue" if endpoint["addresses"][0].endswith("12") else "green"}
    gateway.apply(made)
    assert set(answers(reached, VIPS[0])) == {"backend2"}
    assert "does not match" in gateway.ctl("describe", "svc", "web").stdout
    text = gateway.ctl("get", "service", "web", "-o", "yaml").stdout
    assert "unchanged" in gateway.ctl("apply", "-f", "-", input=text).stdout


def test_addresses_that_are_not_ready_are_used_where_they_are_published(reached, gateway):
    made = web((1,), publishNotReadyAddresses=True)
    for endpoint in made["spec"]["endpoints"]:
        endpoint["conditions"] = {"ready": False}
    gateway.apply(made)
    assert fetch(reached, VIPS[0]) == 0
    del made["spec"]["publishNotReadyAddresses"]
    gateway.apply(made)
    assert fetch(reached, VIPS[0]) != 0
