# SPDX-License-Identifier: Apache-2.0
"""Pods and EndpointSlices come of Deployments, and rolls go by stages (KUBERNETES.md 1.37)."""

import time

import pytest

from controller import Controller

SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


def addresses():
    return (f"10.1.{number // 250}.{number % 250 + 1}" for number in range(60_000))


def deployment(name="web", replicas=2, port=8080, labels=None):
    return {"metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"} | (labels or {})},
                                  "spec": {"containers": [{"name": "c", "image": "i", "ports": [
                                      {"name": "http", "containerPort": port}]}]}}}}


def service(name="web", target="http", **spec):
    return {"metadata": {"name": name, "labels": {"team": "a"}},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "w", "port": 80, "targetPort": target}]} | spec}


@pytest.fixture
def controller(server):
    return Controller(server, addresses())


def endpoints(client):
    """Letters of conditions by address, over all slices."""
    return {address: "".join(letter for letter, name in (("r", "ready"), ("s", "serving"), ("t", "terminating"))
                             if endpoint["conditions"][name])
            for item in client.get(SLICES).value["items"] for endpoint in item["endpoints"] or []
            for address in endpoint["addresses"]}


def sizes(client, what):
    """(what of a slice, its number of endpoints), in order."""
    return sorted((what(item), len(item["endpoints"])) for item in client.get(SLICES).value["items"])


def test_37_a_deployment_gets_pods_that_become_ready_endpoints(server, client, controller):
    server.put("nodes", {"metadata": {"name": "node1", "labels": {"topology.kubernetes.io/zone": "z1"}}})
    server.put("services", service())
    server.put("deployments", deployment())
    controller.step()
    assert endpoints(client) == {"10.1.0.1": "", "10.1.0.2": ""}, "there, and not ready yet"
    controller.settle()
    assert endpoints(client) == {"10.1.0.1": "rs", "10.1.0.2": "rs"}
    held, = client.get(SLICES).value["items"]
    assert held["metadata"]["name"].startswith("web-") and held["addressType"] == "IPv4"
    assert held["metadata"]["labels"] == {"kubernetes.io/service-name": "web", "team": "a",
                                          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    assert held["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert held["ports"] == [{"name": "w", "protocol": "TCP", "port": 8080}]
    first = held["endpoints"][0]
    assert first["targetRef"]["kind"] == "Pod" and (first["nodeName"], first["zone"]) == ("node1", "z1")
    status = client.get("/apis/apps/v1/namespaces/default/deployments/web").value["status"]
    assert status["readyReplicas"] == status["updatedReplicas"] == 2
    assert not controller.step(), "nothing more to do, and nothing written"


def test_37_a_roll_replaces_one_pod_after_the_other_new_first(server, client, controller):
    server.put("services", service())
    server.put("deployments", deployment())
    controller.settle()
    controller.roll("web")
    stages = []
    for _ in range(20):
        controller.step()
        if endpoints(client) not in stages[-1:]:
            stages.append(endpoints(client))
    assert not controller.step()
    old = ("10.1.0.1", "10.1.0.2")
    first, second = (next(address for address in old if stages[number].get(address) == "st") for number in (2, 6))
    assert {first, second} == set(old)
    assert stages == [
        {first: "rs", second: "rs", "10.1.0.3": ""},
        {first: "rs", second: "rs", "10.1.0.3": "rs"},
        {first: "st", second: "rs", "10.1.0.3": "rs"},
        {second: "rs", "10.1.0.3": "rs"},
        {second: "rs", "10.1.0.3": "rs", "10.1.0.4": ""},
        {second: "rs", "10.1.0.3": "rs", "10.1.0.4": "rs"},
        {second: "st", "10.1.0.3": "rs", "10.1.0.4": "rs"},
        {"10.1.0.3": "rs", "10.1.0.4": "rs"}]


def test_37_a_roll_waits_for_a_new_pod_that_is_not_ready(server, client, controller):
    server.put("services", service())
    server.put("deployments", deployment(replicas=1))
    controller.settle()
    controller.roll("web")
    controller.step()
    controller.step()
    new = next(pod for pod in controller.pods(app="web") if pod["status"]["podIP"] == "10.1.0.2")
    controller.set_ready(new["metadata"]["name"], False)
    controller.settle()
    assert endpoints(client) == {"10.1.0.1": "rs", "10.1.0.2": ""}
    controller.set_ready(new["metadata"]["name"], True)
    controller.settle()
    assert endpoints(client) == {"10.1.0.2": "rs"}


def test_37_a_named_port_is_each_pods_own_so_a_roll_can_change_it(server, client, controller):
    server.put("services", service())
    server.put("deployments", deployment(port=8080))
    controller.settle()
    server.put("deployments", deployment(port=9090))
    for _ in range(4):
        controller.step()
    assert sizes(client, lambda item: item["ports"][0]["port"]) == [(8080, 1), (9090, 1)]
    controller.settle()
    assert sizes(client, lambda item: item["ports"][0]["port"]) == [(9090, 2)]


def test_37_a_port_that_a_pod_does_not_have_is_left_out(server, client, controller):
    server.put("services", service(ports=[{"name": "a", "port": 80, "targetPort": "http"},
                                          {"name": "b", "port": 81, "targetPort": "none"},
                                          {"name": "c", "port": 82, "targetPort": 53, "protocol": "UDP"}]))
    server.put("deployments", deployment())
    controller.settle()
    held, = client.get(SLICES).value["items"]
    assert [(port["name"], port["protocol"], port["port"]) for port in held["ports"]] == [
        ("a", "TCP", 8080), ("c", "UDP", 53)]


def test_37_a_slice_has_a_hundred_endpoints_and_they_stay_where_they_are(server, client, controller):
    server.put("services", service())
    server.put("deployments", deployment(replicas=250))
    controller.settle()
    assert sorted(size for _, size in sizes(client, lambda item: item["metadata"]["name"])) == [50, 100, 100]

    def where():
        return {endpoint["addresses"][0]: item["metadata"]["name"]
                for item in client.get(SLICES).value["items"] for endpoint in item["endpoints"]}
    before = where()
    controller.scale("web", 240)
    controller.settle()
    after = where()
    assert len(after) == 240 and after.items() <= before.items()
    controller.scale("web", 260)
    controller.settle()
    assert after.items() <= where().items() and set(where().values()) == set(before.values()), "there was room"


def test_37_a_service_without_pods_has_a_slice_of_nulls_and_no_selector_none(server, client, controller):
    server.put("services", service(), service("manual", selector=None))
    controller.settle()
    held, = client.get(SLICES).value["items"]
    assert held["endpoints"] is None and held["ports"] is None
    server.put("deployments", deployment(replicas=1))
    controller.settle()
    filled, = client.get(SLICES).value["items"]
    assert len(filled["endpoints"]) == 1
    client.request("DELETE", "/apis/apps/v1/namespaces/default/deployments/web")
    controller.settle()
    assert controller.pods() == [] and endpoints(client) == {}
    client.request("DELETE", "/api/v1/namespaces/default/services/web")
    controller.settle()
    assert client.get(SLICES).value["items"] == []


def test_37_slices_that_a_test_made_are_its_own(server, client, controller):
    server.put("services", service())
    server.put("endpointslices", {"metadata": {"name": "mine", "labels": {"kubernetes.io/service-name": "web"}},
                                  "addressType": "IPv4", "endpoints": [], "ports": []})
    controller.settle()
    client.request("DELETE", "/api/v1/namespaces/default/services/web")
    controller.settle()
    assert [item["metadata"]["name"] for item in client.get(SLICES).value["items"]] == ["mine"]


def test_37_both_families_have_slices_of_their_own(server, client):
    controller = Controller(server, [["10.1.0.1", "fd00::1"], ["10.1.0.2", "fd00::2"]])
    server.put("services", service(ipFamilies=["IPv4", "IPv6"]))
    server.put("deployments", deployment())
    controller.settle()
    families = {item["addressType"]: sorted(endpoint["addresses"][0] for endpoint in item["endpoints"])
                for item in client.get(SLICES).value["items"]}
    assert families == {"IPv4": ["10.1.0.1", "10.1.0.2"], "IPv6": ["fd00::1", "fd00::2"]}


def test_37_not_ready_pods_can_be_published_and_finished_ones_never_are(server, client, controller):
    server.put("services", service(publishNotReadyAddresses=True))
    server.put("pods", *[{"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": []},
                          "status": {"phase": phase, "podIP": address}}
                         for name, phase, address in (("a", "Running", "10.2.0.1"), ("b", "Succeeded", "10.2.0.2"),
                                                      ("c", "Pending", None))])
    controller.settle()
    assert endpoints(client) == {"10.2.0.1": "r"}


def test_37_a_deleted_pod_terminates_until_its_node_lets_it_go(server, client):
    controller = Controller(server, addresses(), drain_seconds=0.3)
    server.put("services", service())
    server.put("deployments", deployment(replicas=1))
    controller.settle()
    name = controller.pods()[0]["metadata"]["name"]
    begun = time.monotonic()
    client.request("DELETE", f"/api/v1/namespaces/default/pods/{name}")
    controller.step()
    assert endpoints(client) == {"10.1.0.1": "st"}
    assert controller.pods()[0]["metadata"]["deletionGracePeriodSeconds"] == 30
    while "10.1.0.1" in endpoints(client) and time.monotonic() - begun < 10:
        controller.step()
    assert time.monotonic() - begun > 0.3
    controller.settle()
    assert endpoints(client) == {"10.1.0.2": "rs"}, "and has a successor"


class Kubelet:
    """Notes what it is asked to do, and what clients saw at that time."""

    def __init__(self, client):
        self.client, self.noted = client, []

    def started(self, pod):
        self._note("started", pod)

    def ended(self, pod):
        self._note("ended", pod)

    def _note(self, what, pod):
        address = pod["status"]["podIP"]
        self.noted.append((what, address, endpoints(self.client).get(address)))


def test_37_what_a_pod_stands_for_runs_before_it_is_ready_and_ends_before_its_endpoint_goes(server, client):
    kubelet = Kubelet(client)
    controller = Controller(server, addresses(), drain_seconds=2, kubelet=kubelet)
    server.put("services", service())
    server.put("deployments", deployment(replicas=1))
    controller.settle()
    assert kubelet.noted == [("started", "10.1.0.1", "")]
    controller.roll("web")
    deadline = time.monotonic() + 10
    while controller.step() or not endpoints(client) == {"10.1.0.1": "st", "10.1.0.2": "rs"}:
        assert time.monotonic() < deadline
    assert len(kubelet.noted) == 2, "while it drains, it serves"
    begun = time.monotonic()
    controller.settle()
    assert time.monotonic() - begun > 1
    assert kubelet.noted[1:] == [("started", "10.1.0.2", ""), ("ended", "10.1.0.1", "st")]
    assert endpoints(client) == {"10.1.0.2": "rs"}


def test_37_it_runs_by_itself(server, client, controller):
    server.put("services", service())
    server.put("deployments", deployment())
    with controller.running(0.01):
        deadline = time.monotonic() + 10
        while endpoints(client) != {"10.1.0.1": "rs", "10.1.0.2": "rs"} and time.monotonic() < deadline:
            time.sleep(0.02)
    assert endpoints(client) == {"10.1.0.1": "rs", "10.1.0.2": "rs"}
    empty = Controller(server, [])
    controller.scale("web", 3)
    with pytest.raises(AssertionError, match="no more addresses"), empty.running(0.01):
        time.sleep(0.2)
