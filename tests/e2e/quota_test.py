# SPDX-License-Identifier: Apache-2.0
"""What a provider may have: how many services, addresses and frontends, and backends where."""

import json
import subprocess
import sys

import pytest

from gateway import service
from load import url
from namespaces import Lab, wait_until
from testbed import Testbed, both_families
from topology import BACKENDS

EXTERNAL = "203.0.113.65"
POOLS = [{"name": "lb", "addresses": ["203.0.113.40-203.0.113.42"]}]
PROVIDERS = [
    {"name": "cli", "quota": {"services": 4, "addresses": 2},
     "namespace_quotas": [{"namespace": "shop", "quota": {"frontends": 2}},
                          {"namespace": "tight", "quota": {"flows": 4}},
                          {"namespace": "narrow", "quota": {"snat_ports": 4}}],
     "backend_ranges": ["10.10.0.0/24", "2001:db8:10::/64", "10.244.0.0/16"]},
    {"name": "east", "backend_ranges": ["10.244.0.0/16"]},
]


@pytest.fixture(scope="module")
def bounded(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        testbed.gateway.stop()
        testbed.gateway.config["address_pools"] = POOLS
        testbed.gateway.config["providers"] = PROVIDERS
        testbed.gateway.config["external_ip_ranges"] = [EXTERNAL]
        testbed.topology.start_gateway()
        yield testbed
        testbed.gateway.finish()


@pytest.fixture
def gateway(bounded):
    """A gateway with these terms and no service."""
    for provider in ("cli", "west"):
        bounded.gateway.clear(provider)
    return bounded.gateway


def manifest(name, ports=(80,), space="default", endpoints=None):
    made = service(name, [], [(f"p{port}", "TCP", port, 80) for port in ports],
                   both_families(BACKENDS) if endpoints is None else endpoints)
    del made["spec"]["loadBalancerIPs"]
    made["spec"]["allocateLoadBalancerNodePorts"] = False  # each would be a frontend
    made["metadata"]["namespace"] = space
    return made


def vips(gateway, name):
    status = json.loads(gateway.ctl("get", "services", name, "-o", "json").stdout)["status"]
    return [row["ip"] for row in status.get("loadBalancer", {}).get("ingress", [])]


def fetch(bounded, vip):
    return bounded.client.run("curl", "-sf", "--max-time", "3", url(vip, port=80), check=False)


def used(gateway, provider="cli"):
    found = next(row for row in gateway.get("get", "providers")["providers"]
                 if row["name"] == provider)
    return tuple(int(found.get(what, 0)) for what in ("services", "addresses", "frontends"))


def refused(gateway, *manifests, options=()):
    answer = gateway.apply(*manifests, options=list(options), check=False)
    assert answer.returncode == 1, answer.stdout
    return answer.stderr


def test_what_goes_over_a_quota_is_refused_whole_and_neighbours_go_on(bounded, gateway):
    gateway.apply(manifest("a"), manifest("b"))
    words = refused(gateway, manifest("a", ports=(80, 443)), manifest("c"))
    assert "provider 'cli' would have 3 addresses with this, has 2 without, and may have 2" in words
    assert "providers[0].quota.addresses" in words
    assert used(gateway) == (2, 2, 2)
    for name in ("a", "b"):
        assert fetch(bounded, vips(gateway, name)[0]).returncode == 0
    gateway.apply(manifest("d", endpoints=[]), options=["--provider", "west"])
    assert used(gateway, "west") == (1, 1, 1)


def test_a_dry_run_hears_of_it_too(gateway):
    words = refused(gateway, manifest("a"), manifest("b"), manifest("c"), options=["--dry-run"])
    assert "addresses" in words
    assert used(gateway) == (0, 0, 0)


def test_replacing_counts_what_is_there_after_it(bounded, gateway):
    gateway.apply(manifest("a"), manifest("b"))
    gateway.apply(manifest("c"), manifest("d"), options=["--replace"])
    assert used(gateway) == (2, 2, 2)
    assert fetch(bounded, vips(gateway, "c")[0]).returncode == 0


def test_a_namespace_has_a_quota_of_its_own_and_both_are_shown(gateway):
    words = refused(gateway, manifest("a", ports=(80, 81, 82), space="shop"))
    assert "spec.ports" in words and "namespace 'shop' of provider 'cli'" in words
    with_node_port = manifest("b")
    del with_node_port["spec"]["allocateLoadBalancerNodePorts"]
    gateway.apply(manifest("a", ports=(80, 81), space="shop"), with_node_port)
    rows = [line.split() for line in gateway.ctl("get providers").stdout.splitlines()]
    assert rows[0] == ["NAME", "REVISION", "SERVICES", "ADDRESSES", "FRONTENDS", "FLOWS", "SNAT-PORTS"]
    assert next(row for row in rows if row[0] == "cli")[2:5] == ["2/4", "2/2", "4"]
    assert next(row for row in rows if row[0] == "east")[2:] == ["0", "0", "0", "0", "0"]
    wide = [line.split() for line in gateway.ctl("get providers -o wide").stdout.splitlines()]
    assert [row[3:6] for row in wide if row[:2] == ["cli", "shop"]] == [["1", "1", "2/2"]]


def test_who_waits_for_an_address_waits_while_its_provider_may_have_none(bounded, gateway):
    gateway.apply(*(manifest(f"w{i}", endpoints=[]) for i in range(2)),
                  options=["--provider", "west"])
    gateway.apply(manifest("a"))
    gateway.apply(manifest("b"))
    assert "no free IPv4 address" in gateway.ctl("get services b").stdout
    other = manifest("other")
    del other["spec"]["allocateLoadBalancerNodePorts"]
    other["spec"] |= {"type": "ClusterIP", "externalIPs": [EXTERNAL]}
    gateway.apply(other)
    gateway.ctl("delete", "service", "w0", "--provider", "west")
    assert "and may have 2" in gateway.ctl("get services b").stdout
    assert "configured" in gateway.apply(manifest("b", ports=(80, 443))).stdout
    assert used(gateway) == (3, 2, 2)
    gateway.ctl("delete service other")
    wait_until(lambda: vips(gateway, "b") != [], 5, "room in the quota")
    assert used(gateway) == (2, 2, 3)
    assert fetch(bounded, vips(gateway, "b")[0]).returncode == 0


# Opens connections one after the other, keeps them, says how many it got and waits for a line.
HOLD = """
import socket, sys
held = []
for _ in range(int(sys.argv[2])):
    try:
        held.append(socket.create_connection((sys.argv[1], 80), timeout=3))
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("space, column, reason", [
    ("tight", 6, "flow_quota"), ("narrow", 7, "snat_port_quota")])
def test_connections_over_a_quota_are_dropped_by_name_and_neighbours_go_on(
        bounded, gateway, space, column, reason):
    gateway.apply(manifest("a"), manifest("b", space=space))
    vip = json.loads(gateway.ctl("-n", space, "get", "services", "b", "-o", "json").stdout)
    vip = vip["status"]["loadBalancer"]["ingress"][0]["ip"]
    client = bounded.client.spawn(sys.executable, "-c", HOLD, vip, "6", stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout.readline().strip() == "4"
        assert fetch(bounded, vips(gateway, "a")[0]).returncode == 0
        rows = [line.split() for line in gateway.ctl("get providers -o wide").stdout.splitlines()]
        assert next(row for row in rows if row[:2] == ["cli", space])[column] == "4/4"
        assert gateway.drops()[reason] >= 2
        told = gateway.ctl(f"explain --from 192.0.2.2:9 --to {vip}:80", check=False)
        assert reason in told.stdout
        assert "4" in gateway.ctl("-n", space, "flows", "delete", "--service", "b").stdout
        assert fetch(bounded, vip).returncode == 0, "there is room again"
    finally:
        client.communicate("\n", timeout=10)


@pytest.mark.parametrize("address, words", [
    ("10.11.0.9", "'10.11.0.9' is outside the backend ranges of provider 'cli'"),
    ("10.244.1.9", "of provider 'cli' and of provider 'east'"),
])
def test_a_backend_that_is_not_the_providers_is_refused(bounded, gateway, address, words):
    gateway.apply(manifest("a"))
    told = refused(gateway, manifest("a", endpoints=[address]))
    assert "spec.endpoints[0].addresses[0]" in told and words in told
    assert fetch(bounded, vips(gateway, "a")[0]).returncode == 0


def test_who_declares_no_ranges_has_no_backends_in_anothers(gateway):
    told = gateway.apply(manifest("d", endpoints=["10.10.0.9"]),
                         options=["--provider", "west"], check=False).stderr
    assert "of provider 'cli', and provider 'west' declares none" in told
