# SPDX-License-Identifier: Apache-2.0
"""Real clients keep the test server honest: kubectl, whichever is there and 1.20, and python3-kubernetes."""

import json
import os
import subprocess
import threading

import kubernetes
import pytest

import kubectl as kubectls
import tls
from apiserver import ApiServer
from client import Client
from controller import Controller

API = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
       "spec": {"type": "NodePort", "ports": [{"port": 8080}]}}
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tls.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(certificate):
    with ApiServer(ssl=certificate[0]) as made:
        web = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
        made.services = {"web": made.put("services", web)}
        yield made


@pytest.fixture
def writer(server, certificate):
    return Client(server, context=tls.client_context(certificate[1]))


@pytest.fixture(params=kubectls.choices())
def kubectl(request, server, certificate, tmp_path):
    try:
        program = kubectls.find(request.param)
    except kubectls.Unavailable as unavailable:
        pytest.skip(f"kubectl {request.param}: {unavailable}")

    def run(*words, text=None, check=True):
        done = subprocess.run(
            [program, "--server", server.url, "--token", "admin", "--certificate-authority", certificate[1], *words],
            input=text, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(tmp_path)},
            check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done
    return run


@pytest.fixture
def core(server, certificate):
    configuration = kubernetes.client.Configuration(host=server.url)
    configuration.api_key, configuration.api_key_prefix = {"authorization": "admin"}, {"authorization": "Bearer"}
    configuration.ssl_ca_cert = str(certificate[1])
    return kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(configuration))


def test_kubectl_lists_services_with_its_columns(kubectl):
    head, row = kubectl("get", "svc").stdout.splitlines()
    assert head.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row.split()[:4] == ["web", "LoadBalancer", "10.96.0.1", "<pending>"]


def test_kubectl_applies_patches_and_deletes(kubectl, server):
    assert "created" in kubectl("apply", "--validate=false", "-f", "-", text=json.dumps(API)).stdout
    assert "unchanged" in kubectl("apply", "--validate=false", "-f", "-", text=json.dumps(API)).stdout
    changed = API | {"spec": {"type": "NodePort", "ports": [{"port": 8081}]}}
    assert "configured" in kubectl("apply", "--validate=false", "-f", "-", text=json.dumps(changed)).stdout
    assert "patched" in kubectl("patch", "svc", "api", "-p", '{"metadata":{"labels":{"a":"b"}}}').stdout
    ports = kubectl("get", "svc", "api", "-o", "jsonpath={.spec.ports[*].port}").stdout
    assert ports == "8081", "a port is known by its number: the other one is gone"
    kubectl("delete", "svc", "api")
    assert kubectl("get", "svc", "api", check=False).returncode == 1
    assert ("DELETE", "/api/v1/namespaces/default/services/api") in server.requests


DEPLOYMENT = {
    "metadata": {"name": "web"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
             "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}}}


def test_kubectl_restarts_a_deployment_and_awaits_it(kubectl, server):
    server.put("deployments", DEPLOYMENT)
    controller = Controller(server, (f"10.1.0.{number}" for number in range(1, 10)))
    controller.settle()
    kubectl("rollout", "restart", "deployment", "web")
    controller.step()  # so that its status tells of it
    with controller.running():
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment", "web").stdout
        kubectl("delete", "pod", controller.pods()[0]["metadata"]["name"])  # waits until it is gone
    controller.settle()
    assert {pod["status"]["podIP"] for pod in controller.pods()} < {f"10.1.0.{number}" for number in (3, 4, 5)}


def test_kubectl_scales_a_deployment(kubectl, server):
    server.put("deployments", DEPLOYMENT)

    def replicas():
        return kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}").stdout
    assert "scaled" in kubectl("scale", "deployment", "web", "--replicas", "3").stdout and replicas() == "3"
    assert "scaled" in kubectl("scale", "deployment", "web", "--current-replicas", "3", "--replicas", "1").stdout
    assert replicas() == "1"
    refused = kubectl("scale", "deployment", "web", "--current-replicas", "3", "--replicas", "5", check=False)
    assert refused.returncode != 0 and replicas() == "1"


def about(service, name="web.1"):
    """An event as the adapter writes it."""
    meta = service["metadata"]
    return {"metadata": {"name": name}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Serve",
            "reportingController": "sluice.dev/adapter", "reportingInstance": "pod-1", "reason": "Served",
            "type": "Normal", "note": "served at 203.0.113.1",
            "regarding": {"kind": "Service", "name": meta["name"], "namespace": "default", "uid": meta["uid"]}}


def test_kubectl_prints_events_of_either_kind(kubectl, writer, server):
    writer.request("POST", NEW_EVENTS, about(server.services["web"]))
    server.put("events", {"metadata": {"name": "api.1"}, "reason": "Killed", "type": "Warning", "message": "is gone",
                          "involvedObject": {"kind": "Pod", "name": "api", "namespace": "default"},
                          "lastTimestamp": server.clock.stamp(-300)})
    head, *rows = kubectl("get", "events").stdout.splitlines()
    assert head.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [row.split()[1:4] for row in rows] == [["Warning", "Killed", "pod/api"], ["Normal", "Served", "service/web"]]
    assert rows[0].startswith("5m") and rows[1].endswith("served at 203.0.113.1")
    for resource in ("events", "events.v1.events.k8s.io"):
        assert len(kubectl("get", resource, "-A").stdout.splitlines()) == 3
    row = kubectl("get", "events", "--no-headers", "--field-selector", "involvedObject.name=web").stdout
    assert "service/web" in row and "pod/api" not in row


def test_kubectl_describes_a_service_with_its_events(kubectl, writer, server):
    server.put("services", {"metadata": {"name": "api"}, "spec": {"ports": [{"port": 80}]}})
    writer.request("POST", NEW_EVENTS, about(server.services["web"]))
    told = kubectl("describe", "svc", "web").stdout
    assert "Served" in told.split("Events:")[1] and told.rstrip().endswith("served at 203.0.113.1")
    assert "<none>" in kubectl("describe", "svc", "api").stdout.split("Events:")[1]


def test_python_reads_as_a_core_event_what_was_written_as_a_new_one(core, writer, server):
    writer.request("POST", NEW_EVENTS, about(server.services["web"]))
    event, = core.list_namespaced_event("default", field_selector="involvedObject.name=web").items
    assert (event.reason, event.message, event.involved_object.kind) == ("Served", "served at 203.0.113.1", "Service")
    assert core.list_event_for_all_namespaces(field_selector="involvedObject.name=api").items == []


def test_python_asks_what_it_may_do(core, server):
    server.authenticator.tokens["admin"] = {("list", "", "services", None), ("patch", "", "services/status", "shop"),
                                            ("update", "coordination.k8s.io", "leases", "shop")}
    reviews = kubernetes.client.AuthorizationV1Api(core.api_client)

    def may(**asked):
        return reviews.create_self_subject_access_review({"spec": {"resourceAttributes": asked}}).status.allowed
    status = {"verb": "patch", "resource": "services", "subresource": "status"}
    assert may(verb="list", resource="services") and may(verb="list", resource="services", namespace="shop")
    assert may(namespace="shop", **status) and not may(namespace="other", **status) and not may(**status)
    assert not may(verb="patch", resource="services", namespace="shop") and not may(verb="list", resource="secrets")
    assert may(verb="update", group="coordination.k8s.io", resource="leases", namespace="shop")
    assert not may(verb="update", resource="leases", namespace="shop"), "leases of another group"
    assert not may(verb="list", group="apps", resource="services")


def test_python_gets_a_token_and_uses_it(core, server):
    core.create_namespaced_service_account("default", {"metadata": {"name": "adapter"}})
    server.grants["system:serviceaccount:default:adapter"] = {("list", "", "services", None)}
    asked = core.create_namespaced_service_account_token("adapter", "default", {"spec": {"expirationSeconds": 600}})
    core.api_client.configuration.api_key["authorization"] = asked.status.token
    assert len(core.list_service_for_all_namespaces().items) == 1
    server.clock.skew = 700
    with pytest.raises(kubernetes.client.ApiException) as raised:
        core.list_service_for_all_namespaces()
    assert raised.value.status == 401


def test_python_lists_in_pages_and_writes_a_status(core, server):
    for number in range(5):
        server.put("services", {"metadata": {"name": f"s{number}"}, "spec": {"ports": [{"port": 80}]}})
    first = core.list_service_for_all_namespaces(limit=4)
    rest = core.list_service_for_all_namespaces(limit=4, _continue=first.metadata._continue)
    assert len(first.items) == 4 and [item.metadata.name for item in rest.items] == ["s4", "web"]
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    done = core.patch_namespaced_service_status("web", "default", status)
    assert done.status.load_balancer.ingress[0].ip == "203.0.113.1"


def test_python_watches_from_where_its_list_ended(core, server):
    version = core.list_service_for_all_namespaces().metadata.resource_version
    threading.Timer(0.3, server.put, ["services", {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}}]
                    ).start()
    watch = kubernetes.watch.Watch()
    events = [(event["type"], event["object"].metadata.name) for event in watch.stream(
        core.list_service_for_all_namespaces, resource_version=version, timeout_seconds=2)]
    assert events == [("ADDED", "late")]


def test_python_sees_a_410_in_the_stream(core, server):
    old = core.list_service_for_all_namespaces().metadata.resource_version
    server.put("services", {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}})
    server.faults.gone = 1
    with pytest.raises(kubernetes.client.ApiException) as raised:
        list(kubernetes.watch.Watch().stream(core.list_service_for_all_namespaces, resource_version=old,
                                             timeout_seconds=2, _request_timeout=5))
    assert raised.value.status == 410
