# SPDX-License-Identifier: Apache-2.0
"""`sluicectl doctor --kubernetes`: what it finds is there, and what it finds nothing of is well."""

import os

import pytest

from cluster import ADAPTER, PROVIDER, Adapter, kube_service, node
from gateway import SLUICECTL, Gateway, base_config
from kubernetes_lab import cluster, gateway, lease_namespace, network, rights  # noqa: F401
from namespaces import run, wait_until
from nginx import Nginx
from topology import backend_v4, backend_v6

NODE_PORT = 30080


@pytest.fixture
def doctor(network, cluster, tmp_path):
    def examine(token="admin", code=0, **config):
        """What it says, line by line."""
        adapter = Adapter(tmp_path, [network.gateway], cluster.kubeconfig(token))
        adapter.config |= config
        adapter.write()
        done = run([SLUICECTL, "doctor", "--kubernetes", "--config", tmp_path / "sluice-k8s.yaml"], check=False,
                   env=os.environ | {"PATH": f"{ADAPTER.parent}:{os.environ['PATH']}"})
        assert done.returncode == code, done.stdout + done.stderr
        return [line.strip() for line in done.stdout.splitlines()]
    return examine


def found(lines, mark, words):
    return [line for line in lines if line.startswith(mark) and words in line]


def test_where_all_is_well_it_finds_no_fault_and_has_reached_a_pod_of_each_node(cluster, doctor, gateway):
    cluster.slice("web", [{"addresses": [backend_v4(1)], "nodeName": "a"},
                          {"addresses": [backend_v4(2)], "nodeName": "b"}])
    cluster.slice("web", [{"addresses": [backend_v6(3)], "nodeName": "c"},
                          {"addresses": [backend_v6(1)], "nodeName": "a"}])
    cluster.service("web", ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack")
    lines = doctor()
    assert found(lines, "ok", "15 rights") and found(lines, "ok", "nobody else claims")
    assert found(lines, "ok", "addresses come from edge") and found(lines, "ok", "routes to all 4 ready endpoints")
    for pod in (f"{backend_v4(1)}:80 of a", f"{backend_v4(2)}:80 of b", f"[{backend_v6(3)}]:80 of c",
                f"[{backend_v6(1)}]:80 of a"):
        assert found(lines, "ok", f"pod {pod} answers")
    assert lines[-1] == "0 faults, 0 warnings"
    assert gateway.get("--provider", "sluice-doctor", "-A", "get", "services").get("services", []) == []


@pytest.mark.parametrize(("verb", "group", "what", "space"), [
    ("patch", "", "services/status", None), ("update", "coordination.k8s.io", "leases", lease_namespace()),
    ("watch", "discovery.k8s.io", "endpointslices", None)], ids=["status", "leases", "slices"])
def test_a_right_that_is_missing_is_named_whatever_is_granted_elsewhere(cluster, doctor, verb, group, what, space):
    elsewhere = {(verb, "example.com", what, space), (verb, group, what, "elsewhere"), ("delete", group, what, space)}
    cluster.tokens["adapter"] = rights() - {(verb, group, what, space)} | elsewhere
    lines = doctor("adapter", code=1, lease_namespace=lease_namespace())
    assert found(lines, "FAULT", f"the credentials may not {verb} {what}")


def test_rights_of_the_manifests_are_enough_and_more_is_told(cluster, doctor):
    cluster.tokens["adapter"] = rights()
    assert not found(doctor("adapter", lease_namespace=lease_namespace()), "note", "more than is needed")
    assert found(doctor(), "note", "list secrets")
    assert found(doctor("adapter", code=1, lease_namespace="elsewhere"), "FAULT", "in namespace elsewhere")


def test_credentials_that_are_not_accepted_are_told(doctor):
    assert found(doctor("wrong", code=1), "FAULT", "does not accept the credentials")


def test_a_server_that_is_away_is_told_and_the_gateway_is_examined_all_the_same(cluster, doctor):
    cluster.kill()
    lines = doctor(code=1)
    assert found(lines, "FAULT", "the API server does not answer")
    assert found(lines, "ok", "addresses come from edge")


def test_a_gateway_that_is_away_is_told(doctor, tmp_path):
    assert found(doctor(code=1, gateways=[f"unix:{tmp_path}/none.sock"]), "FAULT", "it does not answer")


def test_a_pool_of_another_provider_is_none(cluster, doctor, network):
    lines = doctor(provider="north")
    assert found(lines, "ok", "addresses come from edge")
    assert not [line for line in lines if "other-cluster" in line]


@pytest.mark.parametrize(("pools", "mark", "words"), [
    ([{"name": "north", "addresses": ["203.0.113.16/28"], "providers": ["north"]}], "FAULT",
     f"none of its addressPools is for provider {PROVIDER}"),
    ([{"name": "kept", "addresses": ["203.0.113.16/28"], "auto_assign": False}], "WARN",
     "of its pools kept none has autoAssign"),
    ([], "FAULT", "it has no addressPools")], ids=["of-another", "not-by-themselves", "none"])
def test_pools_that_give_services_nothing_are_told_and_that_nothing_is_probed(
        cluster, doctor, gateway, pools, mark, words):
    cluster.slice("web", [{"addresses": [backend_v4(1)], "nodeName": "a"}])
    cluster.service("web")
    before = gateway.config["address_pools"]
    gateway.stop()
    gateway.config["address_pools"] = pools
    gateway.start()
    try:
        lines = doctor(code=1 if mark == "FAULT" else 0)
    finally:
        gateway.stop()
        gateway.config["address_pools"] = before
        gateway.start()
    assert found(lines, mark, words)
    assert found(lines, "WARN", "nothing is probed over IPv4")


def test_a_service_that_others_claim_is_a_fault_and_says_whose(cluster, doctor):
    cluster.service("theirs", annotations={"sluice.dev/provider": "west"})
    assert found(doctor(code=1), "FAULT", "default/theirs: provider west")
    cluster.remove("services", "theirs")
    claimed = kube_service("metal", vips=["198.51.100.7"])
    del claimed["spec"]["loadBalancerClass"]
    cluster.put("services", claimed)
    assert not found(doctor(), "FAULT", "default/metal"), "without default_class it is not ours"
    lines = doctor(code=1, default_class=True)
    assert found(lines, "FAULT", "default/metal: another implementation has given it 198.51.100.7")


def test_a_pod_without_a_route_of_its_own_is_warned_of_and_one_that_does_not_answer_is_a_fault(cluster, doctor):
    cluster.slice("far", [{"addresses": ["198.18.3.4"], "nodeName": "far"}])
    cluster.service("far", allocateLoadBalancerNodePorts=False)
    cluster.slice("web", [{"addresses": [backend_v4(1)], "nodeName": "a"}], ports=[("http", "TCP", 81)])
    cluster.service("web")
    lines = doctor(code=1)
    assert found(lines, "WARN", "1 endpoints of node far, 198.18.3.4 for one, have no route but the default one")
    fault, = found(lines, "FAULT", "does not answer the gateway")
    assert f"pod {backend_v4(1)}:81 of a" in fault and "refused" in fault.lower()


def test_a_pod_that_takes_smaller_packets_than_the_ports_is_told(network, cluster, doctor):
    cluster.slice("web", [{"addresses": [backend_v4(1)], "nodeName": "a"},
                          {"addresses": [backend_v4(2)], "nodeName": "b"}])
    cluster.service("web")
    assert found(doctor(), "ok", "over IPv4 all that answer take packets of the ports' MTU, 1500")
    network.backends[2].ip("link", "set", "eth0", "mtu", 1450)
    try:
        lines = doctor()
    finally:
        network.backends[2].ip("link", "set", "eth0", "mtu", 1500)
    assert found(lines, "note", f"pod {backend_v4(2)}:80 of b takes packets of up to 1450 octets")
    assert not found(lines, "ok", "packets of the ports' MTU")
    assert lines[-1] == "0 faults, 0 warnings"


def test_where_services_go_by_node_ports_these_are_probed_and_not_pods(network, cluster, doctor):
    """A pod that nobody can reach from here is none of the gateway's business then."""
    for number, name in ((1, "a"), (2, "b")):
        cluster.put("nodes", node(name, backend_v4(number)))
    cluster.slice("web", [{"addresses": ["198.18.3.4"], "nodeName": "a"}])
    made = kube_service("web", annotations={"sluice.dev/delivery": "node"})
    made["spec"]["ports"][0]["nodePort"] = NODE_PORT
    cluster.put("services", made)
    proxy = Nginx(network.backends[1], "proxy", network.lab.directory, port=NODE_PORT).start()
    try:
        lines = doctor(code=1)
    finally:
        proxy.stop()
    assert found(lines, "ok", f"node port {backend_v4(1)}:{NODE_PORT} of a answers")
    assert found(lines, "FAULT", f"node port {backend_v4(2)}:{NODE_PORT} of b does not answer")
    assert not [line for line in lines if "198.18.3.4" in line]


def test_what_is_not_served_is_not_probed(cluster, doctor):
    cluster.slice("other", [{"addresses": [backend_v4(1)], "nodeName": "a"}], ports=[("https", "TCP", 6443)])
    cluster.service("other", loadBalancerClass="example.com/other")
    lines = doctor()
    assert not [line for line in lines if "6443" in line]


def test_backends_within_the_ranges_of_a_provider_are_probed_too(cluster, doctor, gateway):
    cluster.slice("web", [{"addresses": [backend_v4(1)], "nodeName": "a"}])
    cluster.service("web")
    gateway.stop()
    gateway.config["providers"] = [{"name": PROVIDER, "backend_ranges": [f"{backend_v4(1)}/32"]}]
    gateway.start()
    try:
        assert found(doctor(), "ok", f"pod {backend_v4(1)}:80 of a answers")
    finally:
        gateway.stop()
        del gateway.config["providers"]
        gateway.start()


def test_the_holder_of_the_lease_is_named(network, cluster, doctor, gateway, tmp_path):
    assert found(doctor(), "note", "no adapter has run yet")
    (tmp_path / "running").mkdir()
    with Adapter(tmp_path / "running", [gateway], cluster.kubeconfig()):
        wait_until(lambda: cluster.all("coordination.k8s.io"), 10, "a lease")
        assert found(doctor(), "note", "the adapter that writes to the cluster is")
    assert found(doctor(), "note", "no adapter writes to the cluster at present")
    lease, = cluster.all("coordination.k8s.io")
    del lease["metadata"]["resourceVersion"]
    lease["spec"] |= {"holderIdentity": "killed", "renewTime": "2026-01-01T00:00:00.000000Z"}
    cluster.put("leases", lease)
    assert found(doctor(), "WARN", "killed was the last")


def test_a_gateway_that_drains_is_warned_of(doctor, gateway):
    gateway.ctl("drain --deadline 1s", check=False)
    try:
        assert found(doctor(), "WARN", "it drains")
    finally:
        gateway.ctl("undrain")


def test_without_the_adapter_beside_it_sluicectl_says_so(tmp_path):
    done = run([SLUICECTL, "doctor", "--kubernetes"], check=False, env={"PATH": str(tmp_path)})
    assert done.returncode == 2 and "sluice-k8s cannot be run" in done.stderr
    done = run([SLUICECTL, "doctor"], check=False)
    assert done.returncode == 2 and "--kubernetes is required" in done.stderr


def test_a_strict_reverse_path_filter_and_ports_of_unequal_mtu_are_warned_of(doctor, network, lab, tmp_path):
    network.gateway_host.sysctl("net/ipv4/conf/wan0/rp_filter", 1)
    try:
        lines = doctor()
    finally:
        network.gateway_host.sysctl("net/ipv4/conf/wan0/rp_filter", 2)
    assert found(lines, "WARN", "port wan0: rp_filter is strict") and found(lines, "ok", "all ports have an MTU of 1500")
    ports = [("port0", "net_null0", []), ("port1", "net_null1", [])]
    (tmp_path / "uneven").mkdir()
    uneven = Gateway(lab.namespace("uneven"), tmp_path / "uneven", base_config(ports, ["192.0.2.1"]))
    for number, port in enumerate(uneven.config["ports"]):
        port |= {"twin": "none", "addresses": [f"192.0.{number + 2}.2/24"], "mtu": 1500 - 100 * number}
    uneven.start()
    try:
        assert found(doctor(gateways=[f"unix:{uneven.socket}"], code=1), "WARN", "different MTUs, 1400 to 1500")
    finally:
        uneven.stop()
