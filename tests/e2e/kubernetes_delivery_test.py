# SPDX-License-Identifier: Apache-2.0
"""By which way packets reach pods: routes that the gateway's kernel has, or gets from the adapter, or
node ports, whose nodes are asked whether they take what comes."""

import sys

import pytest

from cluster import Adapter, Door, await_backends, kube_service, node
from kubernetes_lab import await_ingress, cluster, events, gateway, network  # noqa: F401
from load import curl_many, url
from namespaces import wait_until
from nginx import start_nginx
from topology import VIP_V4, backend_v4

POD = "10.244.1.5"  # of the node at backend 1, behind which only a route leads
POD_CIDR = "10.244.1.0/24"
NODE_PORT, HEALTH_PORT = 30080, 32080
KUBE_PROXY_PORT = 10256


@pytest.fixture(scope="module")
def pods(network):
    """The node at backend 1 has a pod; those at 1 and 2 serve a node port."""
    network.backends[1].add_address("lo", f"{POD}/32")
    for number in (1, 2):
        start_nginx(network.backends[number], f"node{number}", network.lab.directory, port=NODE_PORT)


@pytest.fixture
def door(network, cluster):
    """The API server's address within the gateway's namespace, from where nodes are reached too."""
    with Door(network.gateway_host, cluster) as made:
        yield made.url


@pytest.fixture
def start(network, cluster, pods, door, tmp_path):
    """Starts adapters in the gateway's namespace that are stopped at the end."""
    running = []

    def begin(**config):
        adapter = Adapter(tmp_path, [network.gateway], cluster.kubeconfig(server=door), **config)
        running.append(adapter.start(network.gateway_host))
        return adapter
    yield begin
    for adapter in running:
        adapter.stop()


def with_pod(cluster, **spec):
    cluster.put("nodes", node("a", backend_v4(1), podCIDR=POD_CIDR, podCIDRs=[POD_CIDR]))
    cluster.slice("web", [{"addresses": [POD], "conditions": {"ready": True}, "nodeName": "a"}])
    made = kube_service("web", **spec)
    made["spec"].setdefault("allocateLoadBalancerNodePorts", False)
    return cluster.put("services", made)


def with_node_ports(cluster, **spec):
    for number, name in ((1, "a"), (2, "b")):
        cluster.put("nodes", node(name, backend_v4(number)))
    cluster.slice("web", [{"addresses": [f"10.244.{number}.5"], "conditions": {"ready": True}, "nodeName": name}
                          for number, name in ((1, "a"), (2, "b"))])
    made = kube_service("web", **spec)
    made["spec"]["ports"][0]["nodePort"] = NODE_PORT
    return cluster.put("services", made)


def routes(network):
    """Those that the gateway has for a provider."""
    return network.gateway_host.ip("route", "show", "proto", "84").stdout


def shown(gateway, *words):
    return gateway.ctl("--provider", "east", "-A", "get", "services", *words).stdout


HEALTH = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.end_headers()
http.server.HTTPServer(("", int(sys.argv[1])), Answer).serve_forever()
"""


def healthy(network, number, port, code):
    """What the node says at a health port, for as long as the process lives."""
    return network.backends[number].spawn(sys.executable, "-c", HEALTH, port, code)


def test_pods_without_a_route_or_node_ports_are_told_and_served_once_the_gateway_has_a_route(
        network, cluster, start, gateway):
    start()
    with_pod(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    wait_until(lambda: "NoRoute" in {reason for _, reason, _ in events(cluster, "web")}, 10, "the event")
    port, = cluster.get("services", "web")["status"]["loadBalancer"]["ingress"][0]["ports"]
    assert (port["port"], port["error"]) == (80, "NoRouteToEndpoints")
    wait_until(lambda: "NoRoute: " in shown(gateway), 5, "the gateway's people being told")
    network.gateway_host.ip("route", "add", POD_CIDR, "via", backend_v4(1))
    try:
        await_backends(gateway, "web", {f"{POD}:80": "active"})
        assert set(curl_many(network.client, url(VIP_V4), 5)) == {"backend1"}
        wait_until(lambda: "ports" not in cluster.get("services", "web")["status"]["loadBalancer"]["ingress"][0],
                   10, "the error going")
        assert f"endpoint (the gateway has a route to {POD_CIDR})" in shown(gateway, "-o", "wide")
        wait_until(lambda: "NoRoute: " not in shown(gateway), 5, "no complaint any more")
    finally:
        network.gateway_host.ip("route", "del", POD_CIDR)


def test_with_pod_routes_by_nodes_the_adapter_has_the_gateway_reach_pods_while_their_node_is_there(
        network, cluster, start, gateway):
    start(pod_routes="nodes")
    with_pod(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    await_backends(gateway, "web", {f"{POD}:80": "active"})
    assert f"{POD_CIDR} via {backend_v4(1)}" in routes(network)
    assert set(curl_many(network.client, url(VIP_V4), 5)) == {"backend1"}
    cluster.put("nodes", node("b", backend_v4(2), podCIDR="10.244.2.0/24", podCIDRs=["10.244.2.0/24"]))
    wait_until(lambda: f"10.244.2.0/24 via {backend_v4(2)}" in routes(network), 5, "another node's route")
    cluster.remove("nodes", "b", None)
    wait_until(lambda: "10.244.2.0/24" not in routes(network), 5, "it going")


def test_an_adapter_without_pod_routes_takes_those_away_that_one_before_has_left(network, cluster, start):
    first = start(pod_routes="nodes")
    with_pod(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    assert POD_CIDR in routes(network)
    first.stop()
    assert POD_CIDR in routes(network), "an adapter's end touches no forwarding"
    first.config.pop("pod_routes")
    first.start(network.gateway_host)
    wait_until(lambda: routes(network) == "", 20, "the route going")


def test_pods_without_a_route_are_reached_by_node_ports_and_the_choice_is_told(network, cluster, start, gateway):
    start()
    with_node_ports(cluster)
    await_backends(gateway, "web", {f"{backend_v4(n)}:{NODE_PORT}": "active" for n in (1, 2)})
    await_ingress(cluster, "web", [VIP_V4])
    assert set(curl_many(network.client, url(VIP_V4), 20)) == {"node1", "node2"}
    assert "node (" in shown(gateway, "-o", "wide")


@pytest.mark.parametrize(("port", "spec"), [
    (HEALTH_PORT, {"externalTrafficPolicy": "Local", "healthCheckNodePort": HEALTH_PORT}),
    (KUBE_PROXY_PORT, {})], ids=["the service's", "kube-proxy's"])
def test_a_node_whose_health_port_says_503_takes_no_new_flows_until_it_says_200(
        network, cluster, start, gateway, port, spec):
    start(node_health_interval="1s")
    answers = {1: healthy(network, 1, port, 200), 2: healthy(network, 2, port, 200)}
    try:
        with_node_ports(cluster, **spec)
        both = {f"{backend_v4(n)}:{NODE_PORT}": "active" for n in (1, 2)}
        await_backends(gateway, "web", both)
        answers[2].terminate()
        answers[2].wait()
        answers[2] = healthy(network, 2, port, 503)
        await_backends(gateway, "web", both | {f"{backend_v4(2)}:{NODE_PORT}": "draining"})
        assert set(curl_many(network.client, url(VIP_V4), 10)) == {"node1"}
        answers[2].terminate()
        answers[2].wait()
        answers[2] = healthy(network, 2, port, 200)
        await_backends(gateway, "web", both)
    finally:
        for process in answers.values():
            process.terminate()
            process.wait()
