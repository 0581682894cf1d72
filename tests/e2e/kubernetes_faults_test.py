# SPDX-License-Identifier: Apache-2.0
"""sluice-k8s before an API server that misbehaves, and through a roll: forwarding goes on."""

import math
import time

from cluster import backends_of, kube_service, services_of
from kubernetes_lab import (HOST, adapter, await_ingress, cluster, gateway, ingress, network,  # noqa: F401
                            serve, servers)
from load import Wrk, curl_many, failures, url
from namespaces import wait_until
from nginx import POD_GRACE_SECONDS, Pods
from topology import VIP_V4, backend_v4

from controller import Controller

SERVICES = "/api/v1/services"
WATCHED = (SERVICES, "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/nodes")
LONG = 300  # seconds of a load that is stopped when what it is there for has happened
PAUSE_MS = 10  # of one that really goes on for minutes
NODE_PORT = 30_080
NOT_READY = {"ready": False, "serving": False}
DRAINS = {"ready": False, "serving": True, "terminating": True}


def revision(gateway):
    return next((int(each["revision"]) for each in gateway.get("get", "providers")["providers"]
                 if each["name"] == "east"), 0)


def await_active(gateway, name, numbers, seconds=10):
    wanted = {f"{backend_v4(number)}:80" for number in numbers}
    wait_until(lambda: {address for address, state in (backends_of(gateway, name) or {}).items()
                        if state == "active"} == wanted, seconds, f"{name} having {wanted}")


def lists_of(cluster):
    """{path: how often it was listed}; a watch has the same path."""
    return {path: cluster.count(path, watch=False) for path in WATCHED}


def serve_two(cluster, gateway):
    """`web`, and `gone`, which has no finalizer that would keep it; all that is to be written for them is."""
    serve(cluster)
    serve(cluster, "gone", kind="NodePort")
    await_ingress(cluster, "web", [VIP_V4])
    for name in ("web", "gone"):
        await_active(gateway, name, [1, 2])


def test_the_api_server_being_away_touches_nothing_and_what_was_deleted_goes_after_one_list(
        network, cluster, adapter, gateway):
    serve_two(cluster, gateway)
    before, lists = revision(gateway), lists_of(cluster)
    with Wrk(network.client, url(VIP_V4), seconds=LONG, pause_ms=PAUSE_MS) as load:
        cluster.kill()
        time.sleep(60)
        assert revision(gateway) == before
        cluster.remove("services", "gone")
        cluster.restart()
        # Their pauses are each its own by now, and up to a minute.
        wait_until(lambda: services_of(gateway) == ["default/web"], 65, "the deletion taking effect")
        wait_until(lambda: lists_of(cluster) == {path: count + 1 for path, count in lists.items()}, 65,
                   "one more list of each")
        time.sleep(2)
        assert failures(load.stop()) == {}
    assert revision(gateway) == before + 1, "one write, for the deletion"
    assert lists_of(cluster) == {path: count + 1 for path, count in lists.items()}
    listed = cluster.times(SERVICES)[-1]
    expired = max(when for when in cluster.times(SERVICES, watch=True) if when < listed)
    assert listed - expired < 0.8  # the list follows at once; the least pause is longer
    assert ingress(cluster, "web") == [VIP_V4]


def test_while_every_watch_is_answered_410_lists_alone_bring_deletions_and_changes_and_nothing_flaps(
        network, cluster, adapter, gateway):
    serve_two(cluster, gateway)
    before, lists = revision(gateway), lists_of(cluster)
    with Wrk(network.client, url(VIP_V4), seconds=LONG, pause_ms=PAUSE_MS) as load:
        cluster.faults.gone = math.inf
        cluster.restart()
        wait_until(lambda: lists_of(cluster)[SERVICES] >= lists[SERVICES] + 2, 20, "lists without a change")
        assert revision(gateway) == before
        cluster.remove("services", "gone")
        cluster.slice("web", [backend_v4(1)])
        wait_until(lambda: services_of(gateway) == ["default/web"], 70, "the deletion taking effect")
        await_active(gateway, "web", [1], seconds=70)
        time.sleep(1)
        assert failures(load.stop()) == {}
    assert before < revision(gateway) <= before + 2, "a write for each of them, or one for both"
    assert max(lists_of(cluster).values()) < 20, "it is not asked without a pause"
    assert ingress(cluster, "web") == [VIP_V4]


def test_an_object_that_cannot_be_read_keeps_its_last_good_form_and_stops_no_other(cluster, adapter, gateway):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    cluster.faults.spoil["web"] = {"spec": {"ports": "many"}}
    held = cluster.get("services", "web")
    held["metadata"].setdefault("labels", {})["touched"] = "yes"
    cluster.put("services", held)
    serve(cluster, "other")
    await_ingress(cluster, "other", ["203.0.113.11"])
    assert services_of(gateway) == ["default/other", "default/web"]
    assert "cannot be read" in adapter.log()
    cluster.restart()  # it is in a list then
    serve(cluster, "third")
    await_ingress(cluster, "third", ["203.0.113.12"], seconds=20)
    assert services_of(gateway) == ["default/other", "default/third", "default/web"]


def test_slices_may_come_long_before_their_service_and_long_after(cluster, adapter, gateway):
    cluster.faults.delay["services"] = 1
    serve(cluster)
    await_active(gateway, "web", [1, 2])
    cluster.faults.delay = {"endpointslices": 1}
    serve(cluster, "late")
    await_active(gateway, "late", [1, 2])


def test_a_stream_that_is_cut_inside_of_an_event_loses_nothing(cluster, adapter, gateway):
    serve(cluster)
    await_active(gateway, "web", [1, 2])
    for where in ("inside", "before", "after"):
        cluster.faults.cut_at.append(("endpointslices", where))
        cluster.slice("web", [backend_v4(3)])
        wait_until(lambda: not cluster.faults.cut_at, 5, "the cut")
        await_active(gateway, "web", [3])
        cluster.slice("web", [backend_v4(1), backend_v4(2)])
        await_active(gateway, "web", [1, 2])


def test_a_rolling_update_and_a_scale_down_under_load_lose_no_request(network, cluster, adapter, gateway, servers):
    pods = Pods({backend_v4(number): server for number, server in servers.items()})
    controller = Controller(cluster, pods, drain_seconds=POD_GRACE_SECONDS, kubelet=pods)
    cluster.put("deployments", {
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "c", "image": "i", "ports": [
                                  {"name": "http", "containerPort": 80}]}]}}}})
    made = kube_service("web", selector={"app": "web"})
    made["spec"]["ports"][0]["targetPort"] = "http"
    cluster.put("services", made)

    def uids():
        return {pod["metadata"]["uid"] for pod in controller.pods()}
    with controller.running():
        await_ingress(cluster, "web", [VIP_V4])
        await_active(gateway, "web", [1, 2])
        assert len(curl_many(network.client, url(VIP_V4), 20)) == 2
        with Wrk(network.client, url(VIP_V4), seconds=LONG) as load:
            time.sleep(1)
            old = uids()
            controller.roll("web")
            wait_until(lambda: len(uids()) == 2 and not uids() & old, 60, "two other pods, and the old ones gone")
            controller.scale("web", 1)
            wait_until(lambda: len(uids()) == 1, 30, "one pod being left")
            assert len(pods.running()) == 1, "the others have really ended"
            time.sleep(1)
            assert failures(load.stop()) == {}
        assert len(curl_many(network.client, url(VIP_V4), 10)) == 1


def test_no_step_of_a_services_life_fails_a_request_that_it_promises_to_serve(
        network, cluster, adapter, gateway, servers):
    cluster.slice("web", [backend_v4(1), backend_v4(2)])
    made = kube_service("web")
    made["spec"]["ports"][0]["nodePort"] = NODE_PORT
    cluster.put("services", made)
    await_ingress(cluster, "web", [VIP_V4])
    await_active(gateway, "web", [1, 2])
    wanted = [([1, 2, 3], {}), ([1, 2], {3: NOT_READY}), ([1, 2, 3], {}), ([1, 3], {2: DRAINS}), ([1, 3], {})]
    with Wrk(network.client, url(HOST, NODE_PORT), seconds=LONG, connections=4) as by_node_port:
        with Wrk(network.client, url(VIP_V4), seconds=LONG) as by_vip:
            for numbers, others in wanted:
                for number in numbers:
                    servers[number].start()
                cluster.slice("web", [backend_v4(number) for number in numbers] +
                              [(backend_v4(number), conditions) for number, conditions in others.items()])
                await_active(gateway, "web", numbers)
                time.sleep(POD_GRACE_SECONDS if others else 0.5)
                for number in others:
                    servers[number].stop()  # not ready, or its grace is over: who is sent there now is refused
                    time.sleep(0.5)
            serve(cluster, "other")
            await_ingress(cluster, "other", ["203.0.113.11"])
            cluster.change_type("other", "ClusterIP")
            wait_until(lambda: services_of(gateway) == ["default/web"], 10, "a cluster service not being served")
            cluster.remove("services", "other")
            assert failures(by_vip.stop()) == {}
        for kind in ("NodePort", "LoadBalancer", "NodePort"):
            cluster.change_type("web", kind)
            await_ingress(cluster, "web", [VIP_V4] if kind == "LoadBalancer" else [])
            time.sleep(1)  # an API server clears a status before the gateway knows of anything
        assert failures(by_node_port.stop()) == {}
    cluster.remove("services", "web")
    wait_until(lambda: services_of(gateway) == [], 10, "the deletion taking effect")
