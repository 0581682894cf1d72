# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the adapter's end-to-end tests: the demo's network with nginx behind a gateway that has
address pools, a cluster, and the adapter between them."""

import pytest
import yaml

from cluster import PROVIDER, Adapter, Cluster
from gateway import ROOT
from namespaces import Lab, wait_until
from nginx import start_nginx
from topology import BACKENDS, Topology, backend_v4

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
        for number in BACKENDS:
            start_nginx(topology.backends[number], f"backend{number}", lab.directory)
        topology.start_gateway()
        yield topology
        topology.gateway.finish()


@pytest.fixture
def gateway(network):
    return network.gateway


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


def rights():
    """(verb, resource) that deploy/kubernetes gives."""
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/base/rbac.yaml").read_text())
    return {(verb, resource) for document in documents for rule in document.get("rules", [])
            for verb in rule["verbs"] for resource in rule["resources"]}
