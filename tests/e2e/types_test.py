# SPDX-License-Identifier: Apache-2.0
"""What a service is reached by besides VIPs: cluster addresses and external ones."""

import json

import pytest

from gateway import service
from load import url
from namespaces import Lab
from testbed import Testbed, both_families
from topology import BACKENDS, backend_v4

EXTERNAL = "203.0.113.61"
VIP = "203.0.113.70"


@pytest.fixture(scope="module")
def typed(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        testbed.gateway.finish()
        testbed.gateway.config |= {
            "cluster_ip_ranges": ["10.96.0.0/24", "2001:db8:96::/112"],
            "external_ip_ranges": ["203.0.113.60/30"]}
        testbed.topology.start_gateway()
        testbed.host.ip("route", "add", "198.51.100.0/24", "via", "203.0.113.62", "dev", "wan0")
        # A client that routes the service range here, as one inside a company's network does.
        testbed.client.ip("route", "add", "10.96.0.0/24", "via", "192.0.2.1")
        testbed.client.ip("route", "add", "2001:db8:96::/112", "via", "2001:db8:2::1")
        yield testbed
        testbed.gateway.finish()


@pytest.fixture
def gateway(typed):
    """A gateway with these ranges and no service."""
    typed.gateway.clear()
    return typed.gateway


def manifest(name, port=9000, **spec):
    made = service(name, [], [("http", "TCP", port, 80)], both_families(BACKENDS))
    made["spec"] = {key: value for key, value in made["spec"].items()
                    if key not in ("type", "loadBalancerIPs")} | spec
    return made


def shown(gateway, name):
    return json.loads(gateway.ctl("get", "services", name, "-o", "json").stdout)


def fetch(typed, address, port=9000):
    return typed.client.run("curl", "-sf", "--max-time", "2", url(address, port=port), check=False)


def test_a_cluster_service_is_reached_by_who_routes_its_range_here(typed, gateway):
    gateway.apply(manifest("web", ipFamilyPolicy="PreferDualStack"))
    addresses = shown(gateway, "web")["spec"]["clusterIPs"]
    assert addresses == ["10.96.0.0", "2001:db8:96::"]
    for address in addresses:
        assert fetch(typed, address).returncode == 0
        assert fetch(typed, address, 80).returncode != 0
    row = gateway.ctl("get svc web").stdout.splitlines()
    assert row[0].split()[:6] == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row[1].split()[:5] == ["web", "ClusterIP", "10.96.0.0", "<none>", "9000/TCP"]


def test_a_cluster_address_that_is_named_is_the_one(typed, gateway):
    gateway.apply(manifest("web", clusterIP="10.96.0.77"))
    assert fetch(typed, "10.96.0.77").returncode == 0
    again = gateway.apply(manifest("web"))
    assert "unchanged" in again.stdout, "one that is not named any more is kept, as in Kubernetes"


def test_a_service_with_other_addresses_may_have_none_of_the_range(typed, gateway):
    gateway.apply(manifest("web", externalIPs=[EXTERNAL], clusterIP="None"))
    assert fetch(typed, EXTERNAL).returncode == 0
    assert gateway.ctl("get svc web").stdout.splitlines()[1].split()[2:4] == ["None", EXTERNAL]
    again = gateway.ctl("apply", "-f", "-", input=gateway.ctl("get svc web -o yaml").stdout)
    assert "unchanged" in again.stdout
    headless = gateway.apply(manifest("web", clusterIP="None"), check=False)
    assert headless.returncode == 1 and "spec.clusterIP" in headless.stderr


def test_an_external_address_is_served_beside_the_cluster_address(typed, gateway):
    gateway.apply(manifest("web", externalIPs=[EXTERNAL]))
    cluster = shown(gateway, "web")["spec"]["clusterIPs"][0]
    for address in (EXTERNAL, cluster):
        assert fetch(typed, address).returncode == 0
    assert gateway.ctl("get svc web").stdout.splitlines()[1].split()[3] == EXTERNAL


@pytest.mark.parametrize("field, value, words", [
    ("externalIPs", ["203.0.113.99"], "externalIpRanges"),
    ("externalIPs", ["203.0.113.62"], "a router of this gateway"),
    ("clusterIPs", ["10.97.0.1"], "clusterIpRanges"),
])
def test_an_address_that_is_not_allowed_is_refused_by_field(typed, gateway, field, value, words):
    gateway.apply(manifest("kept"))
    refused = gateway.apply(manifest("web", **{field: value}), check=False)
    assert refused.returncode != 0
    assert f"spec.{field}[0]" in refused.stderr and words in refused.stderr
    assert fetch(typed, shown(gateway, "kept")["spec"]["clusterIPs"][0]).returncode == 0


def test_source_ranges_hold_for_vips_and_external_addresses_and_not_for_cluster_ones(typed, gateway):
    gateway.apply(manifest("web", type="LoadBalancer", loadBalancerIPs=[VIP], externalIPs=[EXTERNAL],
                           loadBalancerSourceRanges=["198.51.100.0/24"]))
    cluster = shown(gateway, "web")["spec"]["clusterIPs"][0]
    assert fetch(typed, VIP).returncode != 0
    assert fetch(typed, EXTERNAL).returncode != 0
    assert fetch(typed, cluster).returncode == 0


def test_expose_makes_a_service_of_each_type_that_answers(typed, gateway):
    backends = [word for number in BACKENDS for word in ("--backend", backend_v4(number))]
    made = gateway.ctl("expose", "deployment", "web", "--port", "9000", "--target-port", "80", *backends)
    assert made.stdout == "service/web exposed\n"
    gateway.ctl("expose", "balancer", "--type", "LoadBalancer", "--port", "9001", "--target-port", "80",
                "--load-balancer-ip", VIP, "--external-ip", EXTERNAL, *backends)
    assert fetch(typed, shown(gateway, "web")["spec"]["clusterIPs"][0]).returncode == 0
    for address in (VIP, EXTERNAL):
        assert fetch(typed, address, 9001).returncode == 0
    again = gateway.ctl("expose", "web", "--port", "80", check=False)
    assert again.returncode == 1 and "has a service default/web already" in again.stderr


def test_what_is_shown_of_each_type_can_be_applied_again(gateway):
    gateway.apply(manifest("cluster"), manifest("external", externalIPs=[EXTERNAL]),
                  manifest("balancer", 9001, type="LoadBalancer", loadBalancerIPs=[VIP]))
    for name in ("cluster", "external", "balancer"):
        text = gateway.ctl("get", "service", name, "-o", "yaml").stdout
        assert "unchanged" in gateway.ctl("apply", "-f", "-", input=text).stdout, name
