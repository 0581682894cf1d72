# SPDX-License-Identifier: Apache-2.0
"""sluice-k8s between the test API server and a running gateway with address pools."""

import re
import time

import pytest

from cluster import PROVIDER, Adapter, await_backends, backends_of, services_of
from gateway import service
from kubernetes_lab import (FINALIZER, HOST, OVERLAYS, adapter, await_ingress, cluster, events, gateway,  # noqa: F401
                            ingress, lease_namespace, network, rights, serve, servers)
from load import Wrk, curl_many, failures, url
from namespaces import wait_until
from topology import VIP_V4, VIP_V6, backend_v4, backend_v6

ACTIVE = "active"
SERVICES = "/api/v1/services"


def test_a_load_balancer_gets_an_address_is_served_and_says_so(network, cluster, adapter):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    assert set(curl_many(network.client, url(VIP_V4), 20)) == {"backend1", "backend2"}
    held = cluster.get("services", "web")
    assert held["metadata"]["finalizers"] == [FINALIZER]
    assert held["metadata"]["annotations"]["sluice.dev/provider"] == PROVIDER
    assert held["status"]["loadBalancer"]["ingress"][0]["ipMode"] == "VIP"
    wait_until(lambda: ("Normal", "Served", f"served at {VIP_V4}") in events(cluster, "web"), 5, "the event")


def test_both_families_are_served_when_the_service_has_both(network, cluster, adapter):
    cluster.slice("web", [backend_v6(3)])
    serve(cluster, numbers=(1,), ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack")
    await_ingress(cluster, "web", [VIP_V4, VIP_V6])
    assert set(curl_many(network.client, url(VIP_V4), 5)) == {"backend1"}
    assert set(curl_many(network.client, url(VIP_V6), 5)) == {"backend3"}


def test_endpoints_come_and_go_with_their_slices(network, cluster, adapter, gateway, servers):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    await_backends(gateway, "web", {f"{backend_v4(n)}:80": ACTIVE for n in (1, 2)})
    cluster.slice("web", [backend_v4(1), (backend_v4(2), {"ready": False, "serving": True, "terminating": True}),
                          backend_v4(3)])
    await_backends(gateway, "web", {f"{backend_v4(1)}:80": ACTIVE, f"{backend_v4(2)}:80": "draining",
                                    f"{backend_v4(3)}:80": ACTIVE})
    servers[2].stop()  # whoever is sent there is refused
    answers = curl_many(network.client, url(VIP_V4), 20)
    assert set(answers) == {"backend1", "backend3"} and sum(answers.values()) == 20
    cluster.remove("endpointslices", "web-ipv4")
    wait_until(lambda: set((backends_of(gateway, "web") or {}).values()) <= {"removed"}, 5, "no endpoint left")


def test_a_deleted_service_is_withdrawn_before_its_finalizer_goes(network, cluster, adapter, gateway):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    cluster.remove("services", "web")
    wait_until(lambda: not cluster.has("services", "web"), 10, "the finalizer being taken away")
    assert services_of(gateway) == []
    serve(cluster, "next")
    await_ingress(cluster, "next", [VIP_V4])


def test_a_service_that_is_no_load_balancer_any_more_loses_address_and_mark(cluster, adapter, gateway):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    held = cluster.get("services", "web")
    held["spec"]["type"] = "ClusterIP"
    cluster.put("services", held)
    wait_until(lambda: "finalizers" not in cluster.get("services", "web")["metadata"]
               or not cluster.get("services", "web")["metadata"]["finalizers"], 10, "the finalizer going")
    assert "sluice.dev/provider" not in cluster.get("services", "web")["metadata"].get("annotations", {})
    assert services_of(gateway) == []


def test_other_finalizers_labels_and_annotations_are_left_alone(cluster, adapter):
    serve(cluster, labels={"team": "shop"}, annotations={"example.com/note": "mine"},
          finalizers=["example.com/keep"])
    await_ingress(cluster, "web", [VIP_V4])
    meta = cluster.get("services", "web")["metadata"]
    assert meta["finalizers"] == ["example.com/keep", FINALIZER]
    assert meta["labels"] == {"team": "shop"} and meta["annotations"]["example.com/note"] == "mine"
    cluster.remove("services", "web")
    wait_until(lambda: cluster.get("services", "web")["metadata"]["finalizers"] == ["example.com/keep"], 10,
               "our finalizer going")
    assert cluster.get("services", "web")["metadata"]["labels"] == {"team": "shop"}


@pytest.mark.parametrize("spec", [
    {"loadBalancerClass": "example.com/other"},
    {"loadBalancerClass": None},
], ids=["of another class", "without a class"])
def test_a_load_balancer_that_is_not_ours_is_never_touched(cluster, adapter, gateway, spec):
    before = serve(cluster, "theirs", **spec)
    serve(cluster, "ours")
    await_ingress(cluster, "ours", [VIP_V4])
    assert cluster.get("services", "theirs") == before
    assert services_of(gateway) == ["default/ours"]


def test_a_service_labelled_for_another_proxy_is_skipped(cluster, adapter, gateway):
    serve(cluster, "theirs", labels={"service.kubernetes.io/service-proxy-name": "cilium"})
    serve(cluster, "ours")
    await_ingress(cluster, "ours", [VIP_V4])
    assert ingress(cluster, "theirs") == [] and services_of(gateway) == ["default/ours"]


def test_an_address_that_is_asked_for_is_given_and_no_other(cluster, adapter):
    serve(cluster, "asks", loadBalancerIP="203.0.113.12")
    serve(cluster, "annotated", annotations={"sluice.dev/load-balancer-ips": "203.0.113.13"})
    serve(cluster, "elsewhere", loadBalancerIP="198.51.100.1")
    serve(cluster, "foreign", loadBalancerIP="203.0.113.200")
    await_ingress(cluster, "asks", ["203.0.113.12"])
    await_ingress(cluster, "annotated", ["203.0.113.13"])
    serve(cluster, "late", loadBalancerIP="203.0.113.12")
    for name, words in (("elsewhere", "none of the gateway's address pools"),
                        ("foreign", "not for this service"), ("late", "another service's")):
        wait_until(lambda: any(reason == "AddressPending" and words in note   # noqa: B023
                               for _, reason, note in events(cluster, name)), 5, f"{name}'s event")  # noqa: B023
        assert ingress(cluster, name) == []


def test_when_the_pool_is_used_up_a_service_waits_and_says_so_until_one_is_free(cluster, adapter):
    for number in range(4):
        serve(cluster, f"web{number}")
    wait_until(lambda: all(ingress(cluster, f"web{number}") for number in range(4)), 10, "four being served")
    serve(cluster, "fifth")
    wait_until(lambda: any(reason == "AddressPending" for _, reason, _ in events(cluster, "fifth")), 5, "its event")
    assert ingress(cluster, "fifth") == []
    freed = ingress(cluster, "web2")
    cluster.remove("services", "web2")
    await_ingress(cluster, "fifth", freed, seconds=15)


def test_services_share_an_address_by_a_key_when_their_ports_differ(network, cluster, adapter):
    shared = {"sluice.dev/allow-shared-ip": "edge"}
    serve(cluster, "http", annotations=shared)
    await_ingress(cluster, "http", [VIP_V4])
    cluster.slice("alt", [backend_v4(3)], ports=[("alt", "TCP", 80)])
    cluster.service("alt", [("alt", "TCP", 8080)], annotations=shared)
    await_ingress(cluster, "alt", [VIP_V4])
    serve(cluster, "clash", annotations=shared)
    await_ingress(cluster, "clash", ["203.0.113.11"])
    assert set(curl_many(network.client, url(VIP_V4, 8080), 3)) == {"backend3"}


@pytest.mark.parametrize(("family", "taken", "following"), [
    ("IPv4", VIP_V4, "203.0.113.11"), ("IPv6", VIP_V6, "2001:db8:113::11")])
def test_an_address_that_somebody_else_has_at_the_gateway_is_passed_over(
        cluster, adapter, gateway, family, taken, following):
    gateway.apply(service("mine", [taken], [("http", "TCP", 80, 80)], [backend_v4(1), backend_v6(1)]))
    serve(cluster, ipFamilies=[family])
    await_ingress(cluster, "web", [following], seconds=15)
    gateway.clear()


def test_an_address_of_the_gateway_itself_in_a_pool_is_passed_over(cluster, adapter, gateway):
    before = gateway.config["address_pools"]
    gateway.stop()
    gateway.config["address_pools"] = [{"name": "edge", "addresses": [f"{HOST}/32", f"{VIP_V4}/32"]}]
    gateway.start()
    try:
        serve(cluster)
        await_ingress(cluster, "web", [VIP_V4], seconds=30)
    finally:
        gateway.stop()
        gateway.config["address_pools"] = before
        gateway.start()


def test_a_bad_annotation_is_told_and_the_rest_of_the_service_works(cluster, adapter):
    serve(cluster, annotations={"sluice.dev/delivery": "pigeon", "sluice.dev/nonsense": "1"})
    await_ingress(cluster, "web", [VIP_V4])

    def notes():
        return [note for kind, reason, note in events(cluster, "web") if (kind, reason) == ("Warning", "BadAnnotation")]
    wait_until(lambda: len(notes()) >= 2, 5, "both events")
    assert len(notes()) == 2
    assert any("pigeon" in note for note in notes()) and any("nonsense" in note for note in notes())


def test_a_port_that_cannot_be_served_is_an_error_of_its_own(cluster, adapter):
    cluster.slice("web", [backend_v4(1)])
    cluster.service("web", [("http", "TCP", 80), ("sctp", "SCTP", 132)])
    await_ingress(cluster, "web", [VIP_V4])
    assert cluster.get("services", "web")["status"]["loadBalancer"]["ingress"][0]["ports"] == [
        {"port": 132, "protocol": "SCTP", "error": "LoadBalancerMixedProtocolNotSupported"}]


def status_of(cluster, name):
    return cluster.get("services", name)["status"]


def test_ports_with_errors_are_told_by_a_condition_that_goes_with_them(cluster, adapter):
    cluster.slice("web", [backend_v4(1)])
    cluster.service("web", [("http", "TCP", 80), ("sctp", "SCTP", 132)])
    await_ingress(cluster, "web", [VIP_V4])
    condition = status_of(cluster, "web")["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "LoadBalancerPortsError", "True", "LoadBalancerMixedProtocolNotSupported")
    held = cluster.get("services", "web")
    held["spec"]["ports"] = [port for port in held["spec"]["ports"] if port["protocol"] == "TCP"]
    held["status"]["conditions"].append({"type": "Mine", "status": "True"})
    cluster.put("services", held)
    wait_until(lambda: status_of(cluster, "web").get("conditions") == [{"type": "Mine", "status": "True"}], 10,
               "the condition going, and the other one staying")
    assert "ports" not in status_of(cluster, "web")["loadBalancer"]["ingress"][0]


def test_source_ranges_by_annotation_bring_the_clusters_own_clients_to_the_gateway(cluster, adapter):
    annotation = "service.beta.kubernetes.io/load-balancer-source-ranges"
    serve(cluster, annotations={annotation: "10.0.0.0/8"})
    await_ingress(cluster, "web", [VIP_V4])
    assert status_of(cluster, "web")["loadBalancer"]["ingress"][0]["ipMode"] == "Proxy"
    held = cluster.get("services", "web")
    del held["metadata"]["annotations"][annotation]
    cluster.put("services", held)
    wait_until(lambda: status_of(cluster, "web")["loadBalancer"]["ingress"][0]["ipMode"] == "VIP", 10, "the short way")


def test_a_local_service_whose_clients_addresses_are_lost_is_told(cluster, adapter):
    serve(cluster, externalTrafficPolicy="Local")
    await_ingress(cluster, "web", [VIP_V4])
    serve(cluster, "other")
    wait_until(lambda: any((kind, reason) == ("Warning", "ClientAddressNotPreserved")
                           for kind, reason, _ in events(cluster, "web")), 10, "its event")
    assert not any(reason == "ClientAddressNotPreserved" for _, reason, _ in events(cluster, "other"))


def test_the_way_of_delivery_is_told_when_it_changes(cluster, adapter):
    serve(cluster, annotations={"sluice.dev/delivery": "endpoint"})
    await_ingress(cluster, "web", [VIP_V4])
    held = cluster.get("services", "web")
    held["metadata"]["annotations"]["sluice.dev/delivery"] = "node"
    cluster.put("services", held)
    wait_until(lambda: [note for _, reason, note in events(cluster, "web") if reason == "Delivery"] == [
        "to pods: sluice.dev/delivery says so", "to node ports: sluice.dev/delivery says so"], 10, "both events")


def test_an_exposed_name_keeps_its_address_over_a_restart_of_the_adapter(network, cluster, tmp_path):
    def assigned(name):
        return cluster.get("services", name)["metadata"].get("annotations", {}).get("sluice.dev/assigned-ips")
    exposed = {"sluice.dev/expose-external-name": "true"}
    kubeconfig = cluster.kubeconfig()
    with Adapter(tmp_path, [network.gateway], kubeconfig):
        for name, address in (("first", VIP_V4), ("second", "203.0.113.11")):
            cluster.service(name, kind="ExternalName", externalName="localhost", annotations=exposed)
            wait_until(lambda: assigned(name) == address, 10, f"{name} having {address}")  # noqa: B023
    cluster.remove("services", "first")
    with Adapter(tmp_path, [network.gateway], kubeconfig):
        cluster.service("third", kind="ExternalName", externalName="localhost", annotations=exposed)
        wait_until(lambda: assigned("third") == VIP_V4, 10, "the free address being given away")
        assert assigned("second") == "203.0.113.11"
        held = cluster.get("services", "second")
        del held["metadata"]["annotations"]["sluice.dev/expose-external-name"]
        cluster.put("services", held)
        wait_until(lambda: assigned("second") is None, 10, "the annotation going")


def test_what_the_status_says_outlives_a_restart_of_the_adapter(network, cluster, tmp_path):
    kubeconfig = cluster.kubeconfig()
    with Adapter(tmp_path, [network.gateway], kubeconfig):
        serve(cluster, "first")
        await_ingress(cluster, "first", [VIP_V4])
        serve(cluster, "second")
        await_ingress(cluster, "second", ["203.0.113.11"])
    cluster.remove("services", "first")  # the finalizer keeps it
    load = Wrk(network.client, url("203.0.113.11"), seconds=4)
    with Adapter(tmp_path, [network.gateway], kubeconfig):
        wait_until(lambda: not cluster.has("services", "first"), 10, "the first being let go")
        assert ingress(cluster, "second") == ["203.0.113.11"]
        assert failures(load.finish()) == {}


def test_a_gateway_that_has_been_restarted_is_given_everything_again(network, cluster, adapter, gateway):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    gateway.stop()
    network.start_gateway()
    await_backends(gateway, "web", {f"{backend_v4(n)}:80": ACTIVE for n in (1, 2)})
    assert ingress(cluster, "web") == [VIP_V4]


def test_one_bad_service_does_not_hold_up_the_others(cluster, adapter, gateway):
    cluster.slice("bad", ["10.10.0.11"])
    cluster.service("bad", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}})
    serve(cluster, "good")
    wait_until(lambda: ingress(cluster, "good"), 10, "the good one being served")
    wait_until(lambda: any(reason == "GatewayRefused" and "timeoutSeconds" in note
                           for _, reason, note in events(cluster, "bad")), 10, "the event about the bad one")
    assert services_of(gateway) == ["default/good"]
    assert ingress(cluster, "bad") == []


def test_an_external_address_that_is_not_allowed_is_told_and_left_out(cluster, adapter, gateway):
    serve(cluster, externalIPs=["203.0.113.99"])
    serve(cluster, "inside", kind="ClusterIP", externalIPs=["203.0.113.98"])
    await_ingress(cluster, "web", [VIP_V4])
    for name in ("web", "inside"):
        wait_until(lambda: any(reason == "ExternalAddressNotAllowed" for _, reason, _ in events(cluster, name)),
                   5, f"the event about {name}")  # noqa: B023
    assert services_of(gateway) == ["default/web"]


def test_the_provider_of_another_is_not_touched(cluster, adapter, gateway):
    gateway.apply(service("mine", ["203.0.113.13"], [("http", "TCP", 80, 80)], [backend_v4(1)]))
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    assert gateway.ctl("get services -o name").stdout.count("mine") == 1
    gateway.clear()


@pytest.fixture
def two(network, cluster, tmp_path):
    """Two adapters of one cluster, of which the first leads."""
    adapters = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        adapters.append(Adapter(tmp_path / name, [network.gateway], cluster.kubeconfig()))
    first, second = adapters
    first.start()
    wait_until(lambda: "this adapter writes" in first.log(), 10, "the first leading")
    with second:
        yield first, second
        if first.process.poll() is None:
            first.stop()


def test_of_two_adapters_one_writes_and_the_other_takes_over(cluster, two):
    first, second = two
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    assert "this adapter writes" not in second.log()
    first.stop()
    wait_until(lambda: "this adapter writes" in second.log(), 10, "the second leading")
    serve(cluster, "next")
    await_ingress(cluster, "next", ["203.0.113.11"])
    assert ingress(cluster, "web") == [VIP_V4]
    assert cluster.get("leases", f"sluice-k8s-{PROVIDER}")["spec"]["leaseTransitions"] == 2


def test_who_takes_over_goes_by_a_list_of_its_own_and_not_by_its_watch(network, cluster, two):
    first, _ = two
    wait_until(lambda: cluster.count(SERVICES) == 2, 10, "the second's list")
    cluster.faults.silent = True  # its watch says nothing of what the first does last
    cluster.slice("web", [backend_v4(1)])
    cluster.service("web", vips=[VIP_V4])
    first.stop()
    wait_until(lambda: cluster.count(SERVICES) == 3, 10, "a list by who leads now")
    wait_until(lambda: services_of(network.gateway) == ["default/web"], 10, "what only the list has told")
    cluster.faults.silent = False
    serve(cluster, "next")
    await_ingress(cluster, "next", ["203.0.113.11"])
    assert ingress(cluster, "web") == [VIP_V4]
    assert cluster.count(SERVICES) == 3, "one is enough"


def test_two_adapters_at_one_gateway_do_not_send_all_again_at_each_others_writes(cluster, gateway, two):
    first, second = two
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    for number in range(20):
        cluster.slice("web", [backend_v4(1 + number % 3)])
        serve(cluster, f"s{number}", kind="NodePort")
        if number >= 3:
            cluster.remove("services", f"s{number - 3}")
        time.sleep(0.2)
    await_backends(gateway, "web", {f"{backend_v4(2)}:80": ACTIVE})
    wait_until(lambda: services_of(gateway) == ["default/s17", "default/s18", "default/s19", "default/web"], 10,
               "the last ones")
    for adapter in two:
        assert "was left at" not in adapter.log(), adapter.log()
    assert first.log().count("all is compared") <= 4, "ever more seldom"
    assert "all is compared" not in second.log(), "who does not lead does not decide"


def test_a_service_that_gets_the_label_of_another_proxy_is_let_go(cluster, adapter, gateway):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    held = cluster.get("services", "web")
    held["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "cilium"}
    cluster.put("services", held)
    wait_until(lambda: not cluster.get("services", "web")["metadata"].get("finalizers"), 10, "the finalizer going")
    assert ingress(cluster, "web") == [] and services_of(gateway) == []
    assert "sluice.dev/provider" not in cluster.get("services", "web")["metadata"].get("annotations", {})


def test_a_change_that_the_gateway_refuses_leaves_what_was_served_and_taking_it_back_is_enough(
        network, cluster, adapter, gateway):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])
    good = cluster.get("services", "web")
    bad = cluster.get("services", "web")
    bad["spec"] |= {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}
    cluster.put("services", bad)
    wait_until(lambda: any(reason == "GatewayRefused" for _, reason, _ in events(cluster, "web")), 10, "the event")
    assert ingress(cluster, "web") == [VIP_V4]
    assert sum(curl_many(network.client, url(VIP_V4), 3).values()) == 3
    del good["metadata"]["resourceVersion"]
    cluster.put("services", good)
    cluster.slice("web", [backend_v4(3)])
    wait_until(lambda: set(curl_many(network.client, url(VIP_V4), 3)) == {"backend3"}, 10, "the next change")
    assert ingress(cluster, "web") == [VIP_V4]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_rights_of_the_manifests_are_enough(network, cluster, tmp_path, gateway, overlay):
    cluster.tokens["adapter"] = rights(overlay)
    with Adapter(tmp_path, [gateway], cluster.kubeconfig("adapter"),
                 lease_namespace=lease_namespace(overlay)) as adapter:
        serve(cluster)
        await_ingress(cluster, "web", [VIP_V4])
        wait_until(lambda: events(cluster, "web"), 5, "its event")
        cluster.remove("services", "web")
        wait_until(lambda: not cluster.has("services", "web"), 10, "the finalizer going")
        assert not was_refused(adapter), adapter.log()


def was_refused(adapter):
    return re.search(r" 403\b", adapter.log()) is not None  # and no part of a time


def spelled(right):
    return " ".join(word for word in right if word)


@pytest.mark.parametrize("right", sorted(rights(), key=spelled), ids=spelled)
def test_without_any_one_of_them_it_is_not_whole(network, cluster, tmp_path, gateway, right):
    """Nothing is asked for that is not needed; `get` goes with list and watch in Kubernetes' own roles."""
    verb, _, what, _ = right
    if verb == "get" and what != "leases":
        pytest.skip("not asked for by itself")
    cluster.tokens["adapter"] = rights() - {right}
    with Adapter(tmp_path, [gateway], cluster.kubeconfig("adapter"), lease_namespace=lease_namespace()) as adapter:
        serve(cluster)
        wait_until(lambda: was_refused(adapter), 10, "a refusal")


def test_a_status_waits_for_a_gateway_that_announces(cluster, gateway, tmp_path):
    gateway.ctl("role standby")  # before the adapter asks, which asks once a second
    with Adapter(tmp_path, [gateway], cluster.kubeconfig()):
        status_waits(cluster, gateway)


def status_waits(cluster, gateway):
    try:
        serve(cluster)
        wait_until(lambda: any(reason == "GatewayStandby" for _, reason, _ in events(cluster, "web")), 10, "the event")
        assert ingress(cluster, "web") == []
    finally:
        gateway.ctl("role active")
    await_ingress(cluster, "web", [VIP_V4])
    gateway.ctl("role standby")
    try:
        cluster.slice("web", [backend_v4(3)])
        await_backends(gateway, "web", {f"{backend_v4(3)}:80": ACTIVE})
        assert ingress(cluster, "web") == [VIP_V4], "one of two gateways that has become the standby takes nothing back"
    finally:
        gateway.ctl("role active")


def test_what_an_admission_webhook_denies_of_one_service_holds_up_no_other(cluster, adapter):
    cluster.faults.deny.add("web")
    serve(cluster)
    wait_until(lambda: "denied the request" in adapter.log(), 10, "the denial")
    for number, name in enumerate(("a", "b", "c"), 10):
        serve(cluster, name)
        await_ingress(cluster, name, [f"203.0.113.{number}"], seconds=5)
    assert not cluster.get("services", "web")["metadata"].get("finalizers")
