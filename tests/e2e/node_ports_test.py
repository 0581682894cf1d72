# SPDX-License-Identifier: Apache-2.0
"""Node ports: on the host's addresses, on VIPs, on the addresses of nodes behind the gateway."""

import json

import pytest

from gateway import service
from load import url
from namespaces import Lab
from testbed import Testbed, both_families
from topology import BACKENDS, CLIENT_V4, CLIENT_V6, backend_v4, backend_v6

HOST_V4, HOST_V6 = "192.0.2.1", "2001:db8:2::1"
LAN_HOST = "10.10.0.1"  # another address of the host, which serves none
VIPS = ("203.0.113.80", "2001:db8:113::80")
NODE_V4, NODE_V6 = backend_v4(3), backend_v6(3)


@pytest.fixture(scope="module")
def noded(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        testbed.gateway.finish()
        testbed.gateway.config |= {
            "node_port_addresses": [HOST_V4, f"{HOST_V6[:-1]}/64"],
            "node_addresses": [NODE_V4, NODE_V6], "capture_node_addresses": True,
            "external_ip_ranges": [NODE_V4]}
        for port in testbed.gateway.config["ports"]:
            port["transit"] = "kernel"
        testbed.topology.start_gateway()
        # The node behind the gateway has a route to the client, as a node of a cluster does.
        testbed.host.sysctl("net/ipv4/ip_forward", 1)
        testbed.host.sysctl("net/ipv6/conf/all/forwarding", 1)
        node = testbed.topology.backends[3]
        node.ip("route", "replace", f"{CLIENT_V4}/32", "via", LAN_HOST)
        node.ip("-6", "route", "replace", f"{CLIENT_V6}/128", "via", "2001:db8:10::1")
        testbed.client.ip("route", "add", f"{NODE_V4}/32", "via", HOST_V4)
        testbed.client.ip("-6", "route", "add", f"{NODE_V6}/128", "via", HOST_V6)
        yield testbed
        testbed.gateway.finish()


@pytest.fixture
def gateway(noded):
    noded.gateway.clear()
    return noded.gateway


def manifest(name, port=8899, kind="NodePort", node_port=0, numbers=BACKENDS, vips=(), **spec):
    made = service(name, vips, [("http", "TCP", port, 80)], both_families(numbers))
    made["spec"] |= {"type": kind} | spec
    if not vips:
        del made["spec"]["loadBalancerIPs"]
    if node_port:
        made["spec"]["ports"][0]["nodePort"] = node_port
    return made


def node_port_of(gateway, name):
    shown = json.loads(gateway.ctl("get", "services", name, "-o", "json").stdout)
    return shown["spec"]["ports"][0]["nodePort"]


def fetch(noded, address, port):
    return noded.client.run("curl", "-s", "--max-time", "2", url(address, port=port), check=False)


def test_a_node_port_is_reached_on_the_hosts_addresses_of_both_families(noded, gateway):
    gateway.apply(manifest("web", node_port=30000), manifest("more", 8900))
    chosen = node_port_of(gateway, "more")
    assert 30086 <= chosen <= 32767
    for port in (30000, chosen):
        for address in (HOST_V4, HOST_V6):
            assert fetch(noded, address, port).returncode == 0, (address, port)
    rows = {row.split()[0]: row.split() for row in gateway.ctl("get svc").stdout.splitlines()}
    assert rows["web"][1:5] == ["NodePort", "<none>", "<none>", "8899:30000/TCP"]


def test_every_other_port_of_the_host_is_the_kernels(noded, gateway):
    gateway.apply(manifest("web", node_port=30000))
    refused = fetch(noded, HOST_V4, 30001)
    assert refused.returncode == 7, "the kernel has nobody there and says so at once"
    assert noded.client.run("ping", "-c1", "-W2", HOST_V4, check=False).returncode == 0


def test_an_address_of_the_host_that_is_not_named_serves_none(noded, gateway):
    noded.client.ip("route", "replace", f"{LAN_HOST}/32", "via", HOST_V4)
    gateway.apply(manifest("web", node_port=30000))
    assert fetch(noded, LAN_HOST, 30000).returncode == 7


def test_a_vip_serves_the_node_ports_of_all_services_and_its_own_port(noded, gateway):
    gateway.apply(manifest("balancer", 9090, "LoadBalancer", 31680, vips=VIPS),
                  manifest("web", node_port=30000))
    for address in VIPS:
        for port in (9090, 31680, 30000):
            assert fetch(noded, address, port).returncode == 0, (address, port)
    assert fetch(noded, HOST_V4, 31680).returncode == 0
    assert "9090:31680/TCP" in gateway.ctl("get svc balancer").stdout


def test_a_balancer_without_node_ports_has_none(noded, gateway):
    gateway.apply(manifest("balancer", 9090, "LoadBalancer", vips=VIPS,
                           allocateLoadBalancerNodePorts=False))
    assert "9090/TCP" in gateway.ctl("get svc balancer").stdout


def test_a_nodes_address_serves_node_ports_and_is_the_nodes_else(noded, gateway):
    gateway.apply(manifest("web", node_port=30000, numbers=(1, 2)))
    for address in (NODE_V4, NODE_V6):
        assert fetch(noded, address, 30000).returncode == 0, address
        own = fetch(noded, address, 80)
        assert own.returncode == 0, "the node's own nginx, by way of the kernel"


def test_an_external_address_that_is_a_nodes_is_served_for_what_is_routed_here(noded, gateway):
    gateway.apply(manifest("web", 8811, "ClusterIP", numbers=(1, 2), externalIPs=[NODE_V4]))
    assert fetch(noded, NODE_V4, 8811).returncode == 0
    assert fetch(noded, NODE_V4, 80).returncode == 0
    assert fetch(noded, NODE_V4, 8812).returncode == 7, "the node itself refuses"
    refused = gateway.apply(manifest("vip", 80, "LoadBalancer", vips=[NODE_V4]), check=False)
    assert refused.returncode != 0 and "a node's address" in refused.stderr


@pytest.mark.parametrize("node_port, words", [
    (30000, "belongs to service default/held"), (8080, "nodePortRange"), (70000, "is not a port")])
def test_a_node_port_that_cannot_be_had_is_refused_by_field(noded, gateway, node_port, words):
    gateway.apply(manifest("held", node_port=30000))
    refused = gateway.apply(manifest("web", 80, node_port=node_port), check=False)
    assert refused.returncode != 0
    assert "spec.ports[0].nodePort" in refused.stderr and words in refused.stderr
    assert fetch(noded, HOST_V4, 30000).returncode == 0


def test_expose_takes_a_node_port(noded, gateway):
    gateway.ctl("expose", "web", "--port", "8000", "--target-port", "80", "--type", "NodePort",
                "--node-port", "30007", "--backend", backend_v4(1))
    assert fetch(noded, HOST_V4, 30007).returncode == 0


def test_what_is_shown_can_be_applied_again(gateway):
    gateway.apply(manifest("web"), manifest("balancer", 9090, "LoadBalancer", vips=VIPS))
    for name in ("web", "balancer"):
        text = gateway.ctl("get", "service", name, "-o", "yaml").stdout
        assert "unchanged" in gateway.ctl("apply", "-f", "-", input=text).stdout, name


def test_explain_says_whose_a_node_port_is(noded, gateway):
    gateway.apply(manifest("web", node_port=30000))
    told = gateway.ctl("explain", "--from", f"{CLIENT_V4}:4000", "--to", f"{HOST_V4}:30000").stdout
    assert "web" in told and f"{HOST_V4}:30000" in told and "forward: to" in told
