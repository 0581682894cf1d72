# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the adapter's end-to-end tests: the demo's network with nginx behind a gateway that has
address pools, a cluster, and the adapter between them. And the rights that its manifests give it."""

import functools

import pytest
import yaml

from cluster import PROVIDER, Adapter, Cluster
from namespaces import Lab, run, wait_until
from nginx import POD_CONNECTION_LIFE, Nginx
from paths import ROOT
from topology import BACKENDS, Topology, backend_v4

import kubectl
from rbac import rights_of

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
HOST = "192.0.2.1"  # the gateway's own, for node ports
POOLS = [{"name": "edge", "addresses": ["203.0.113.10-203.0.113.13", "2001:db8:113::10-2001:db8:113::13"]},
         {"name": "other-cluster", "addresses": ["203.0.113.200/32"], "providers": ["west"]}]


@pytest.fixture(scope="module")
def network(driver):
    with Lab() as lab:
        topology = Topology(lab, driver)
        topology.gateway.config["address_pools"] = POOLS
        topology.gateway.config["node_port_addresses"] = [HOST]
        topology.servers = {number: Nginx(topology.backends[number], f"backend{number}", lab.directory,
                                          connection_life=POD_CONNECTION_LIFE).start() for number in BACKENDS}
        topology.start_gateway()
        yield topology
        topology.gateway.finish()


@pytest.fixture
def gateway(network):
    return network.gateway


@pytest.fixture
def servers(network):
    """{number: the nginx of a backend}, for a test that stops some."""
    yield network.servers
    for server in network.servers.values():
        server.start()


@pytest.fixture
def cluster(network, tmp_path):
    network.gateway.clear()
    with Cluster(tmp_path) as made:
        yield made
    network.gateway.clear(PROVIDER)


@pytest.fixture
def adapter(network, cluster, tmp_path):
    with Adapter(tmp_path, [network.gateway], cluster.kubeconfig()) as made:
        yield made


def ingress(cluster, name):
    """Addresses of a service's status."""
    return [entry["ip"] for entry in (cluster.get("services", name)["status"].get("loadBalancer") or {}).get(
        "ingress") or []]


def events(cluster, name):
    return [(event["type"], event["reason"], event["note"]) for event in cluster.all("events.k8s.io")
            if event["regarding"]["name"] == name]


def serve(cluster, name="web", numbers=(1, 2), **options):
    cluster.slice(name, [backend_v4(number) for number in numbers])
    return cluster.service(name, **options)


def await_ingress(cluster, name, wanted, seconds=10):
    wait_until(lambda: ingress(cluster, name) == wanted, seconds, f"{name} having {wanted}")


OVERLAYS = sorted(path.parent.name for path in (ROOT / "deploy/kubernetes/overlays").glob("*/kustomization.yaml"))


@functools.lru_cache
def manifests(overlay):
    """As kubectl renders them."""
    folder = ROOT / "deploy" / "kubernetes" / "overlays" / overlay
    return list(yaml.safe_load_all(run([kubectl.find("here"), "kustomize", folder]).stdout))


def rights(overlay="external-gateways"):
    """Those of the account that deploy/kubernetes makes, as rbac.rights_of gives them."""
    account, = (thing["metadata"] for thing in manifests(overlay) if thing["kind"] == "ServiceAccount")
    return rights_of(manifests(overlay), account["namespace"], account["name"])


def lease_namespace(overlay="external-gateways"):
    """By the adapter's configuration there, or by that of an appliance, where it is no pod."""
    texts = [thing["data"]["sluice-k8s.yaml"] for thing in manifests(overlay)
             if thing["kind"] == "ConfigMap" and "sluice-k8s.yaml" in thing["data"]]
    return yaml.safe_load((texts or [(ROOT / "deploy/examples/sluice-k8s.yaml").read_text()])[0])["lease_namespace"]
