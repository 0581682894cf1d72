# SPDX-License-Identifier: Apache-2.0
"""The test API server is as KUBERNETES.md section 1 says; the number in a test's name is its number there."""

import gzip
import json
import struct
import time

import pytest

from apiserver import ApiServer
from client import Client
from resources import ApiError

SERVICES = "/api/v1/services"
DEFAULT = "/api/v1/namespaces/default/services"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def service(name="web", labels=None, **spec):
    return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name} | ({"labels": labels} if labels else {}),
            "spec": {"ports": [{"port": 80}]} | spec}


def put(server, *names, **spec):
    return [server.put("services", service(name, **spec)) for name in names]


def patch(client, name, body, kind=MERGE, sub=""):
    return client.request("PATCH", f"{DEFAULT}/{name}{sub}", body, kind)


# Lists.

def test_01_a_list_has_a_version_and_its_items_have_no_kind(server, client):
    put(server, "web")
    answer = client.get(SERVICES).value
    assert answer["kind"] == "ServiceList" and answer["apiVersion"] == "v1"
    assert answer["metadata"]["resourceVersion"] == str(server.store.version)
    assert "kind" not in answer["items"][0] and "apiVersion" not in answer["items"][0]


def test_01_a_large_answer_comes_in_chunks_and_for_curl_indented(server, client):
    put(server, *[f"s{number}" for number in range(10)])
    plain, indented = client.get(SERVICES), client.get(SERVICES, User_Agent="curl/7.88.1")
    assert plain.headers["Transfer-Encoding"] == "chunked" and plain.headers["Content-Length"] is None
    assert plain.value == indented.value and indented.body.startswith(b'{\n  "kind": "ServiceList",\n')
    assert client.get(f"{DEFAULT}/s1").headers["Content-Length"] is not None


def test_02_pages_are_all_of_the_first_ones_version(server, client):
    put(server, "a", "b", "c")
    first = client.get(f"{SERVICES}?limit=2").value
    assert first["metadata"]["remainingItemCount"] == 1
    client.request("DELETE", f"{DEFAULT}/c")
    second = client.get(f"{SERVICES}?limit=2&continue={first['metadata']['continue']}").value
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert [item["metadata"]["name"] for item in second["items"]] == ["c"], "deleted meanwhile, served still"
    assert "continue" not in second["metadata"]


def test_02_pages_of_two_lists_of_one_version_are_not_mixed(server, client):
    put(server, "a", "b", "c")
    server.put("nodes", *[{"metadata": {"name": name}} for name in "xyz"])
    token = client.get(f"{SERVICES}?limit=2").value["metadata"]["continue"]
    for other in ("/api/v1/nodes?limit=2", "/api/v1/services?limit=1&labelSelector=!a&fieldSelector=metadata.name!=c"):
        client.get(other)
        rest = client.get(f"{SERVICES}?limit=2&continue={token}").value
        assert [item["metadata"]["name"] for item in rest["items"]] == ["c"], other


def test_03_version_0_takes_no_heed_of_a_limit(server, client):
    put(server, "a", "b", "c")
    answer = client.get(f"{SERVICES}?limit=1&resourceVersion=0").value
    assert len(answer["items"]) == 3 and "continue" not in answer["metadata"]


def test_04_an_expired_continue_is_410_with_a_token_for_the_rest(server, client):
    put(server, "a", "b", "c")
    token = client.get(f"{SERVICES}?limit=1").value["metadata"]["continue"]
    server.call(_do(server.expire))
    gone = client.get(f"{SERVICES}?limit=1&continue={token}")
    assert gone.code == 410 and gone.value["reason"] == "Expired"
    rest = client.get(f"{SERVICES}?continue={gone.value['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest.value["items"]] == ["b", "c"]
    assert client.get(f"{SERVICES}?continue=junk").code == 400
    assert client.get(f"{SERVICES}?resourceVersion=1&resourceVersionMatch=Exact").code == 410


def test_05_a_version_of_the_future_is_504(client):
    begun = time.monotonic()
    answer = client.get(f"{SERVICES}?resourceVersion=999999")
    assert answer.code == 504 and answer.value["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer.value["details"]["retryAfterSeconds"] == 1 and time.monotonic() - begun > 0.15


def test_06_only_a_large_list_is_compressed_and_only_when_asked(server, client):
    put(server, "small")
    assert client.get(SERVICES, Accept_Encoding="gzip").headers["Content-Encoding"] is None
    put(server, *[f"s{number}" for number in range(400)])
    packed = client.get(SERVICES, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip" and b"ServiceList" in gzip.decompress(packed.body)
    assert client.get(SERVICES).headers["Content-Encoding"] is None


def test_07_protobuf_and_unknown_types(server, client):
    packed = client.get(SERVICES, Accept="application/vnd.kubernetes.protobuf")
    either = client.get(SERVICES, Accept="application/vnd.kubernetes.protobuf,application/json")
    assert either.value["kind"] == "ServiceList"
    assert packed.body.startswith(b"k8s\x00")
    put(server, "web")
    frame = client.get(f"{SERVICES}?watch=true&timeoutSeconds=0.2", Accept="application/vnd.kubernetes.protobuf").body
    assert struct.unpack(">I", frame[:4])[0] == len(frame) - 4, "frames, not lines"
    assert client.get(SERVICES, Accept="text/html").code == 406


# Watches.

def test_08_events_are_lines_and_chunks_are_not_events(server, client):
    version = server.store.version
    put(server, "web", externalIPs=["192.0.2.1"] * 400)
    stream = client.watch(f"{SERVICES}?watch=true&resourceVersion={version}")
    event = stream.next()
    assert event["type"] == "ADDED" and event["object"]["kind"] == "Service"
    assert len(stream.chunks) > 1
    stream.close()


def test_09_a_timeout_is_a_clean_end_and_no_relist_is_needed(server, client):
    put(server, "a")
    stream = client.watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}&timeoutSeconds=3")
    put(server, "b")
    last = stream.all()[-1]
    assert stream.ended and last["object"]["metadata"]["name"] == "b"
    put(server, "c")
    again = client.watch(f"{SERVICES}?watch=true&timeoutSeconds=1"
                         f"&resourceVersion={last['object']['metadata']['resourceVersion']}")
    assert [event["object"]["metadata"]["name"] for event in again.all()] == ["c"]


def test_10_too_old_a_version_is_an_error_in_a_stream_of_200(server, client):
    put(server, "a")
    server.call(_do(server.expire))
    stream = client.watch(f"{SERVICES}?watch=true&resourceVersion=1")
    assert stream.code == 200
    event, = stream.all()
    assert event["type"] == "ERROR" and event["object"]["code"] == 410 and event["object"]["reason"] == "Expired"


def test_11_after_a_restart_even_the_newest_version_is_too_old(server, client):
    put(server, "a")
    newest = client.get(SERVICES).value["metadata"]["resourceVersion"]
    server.call(_do(server.store.restart))
    event, = client.watch(f"{SERVICES}?watch=true&resourceVersion={newest}").all()
    assert event["object"]["code"] == 410
    fresh = client.get(SERVICES).value["metadata"]["resourceVersion"]
    assert client.watch(f"{SERVICES}?watch=true&resourceVersion={fresh}&timeoutSeconds=1").all() == []


def test_12_without_a_version_all_objects_come_first(server, client):
    put(server, "a", "b")
    for query in ("", "&resourceVersion=0"):
        events = client.watch(f"{SERVICES}?watch=true&timeoutSeconds=1{query}").all()
        assert [event["type"] for event in events] == ["ADDED", "ADDED"]
    assert client.get(f"{SERVICES}?watch=true&resourceVersion=abc").code == 500


def test_13_bookmarks_have_a_version_and_nothing_else():
    with ApiServer(bookmark_seconds=0.2) as server:
        stream = Client(server).watch(f"{SERVICES}?watch=true&resourceVersion=1&allowWatchBookmarks=true"
                                      "&timeoutSeconds=3")
        events = stream.all()
        assert len(events) >= 3 and {event["type"] for event in events} == {"BOOKMARK"}
        assert events[0]["object"]["metadata"]["resourceVersion"] == str(server.store.version)
        assert events[0]["object"]["spec"] == {} and "name" not in events[0]["object"]["metadata"]


def test_14_initial_events_end_with_a_bookmark_that_says_so(server, client):
    put(server, "a")
    stream = client.watch(f"{SERVICES}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                          "&allowWatchBookmarks=true")
    assert stream.next()["type"] == "ADDED"
    end = stream.next()
    assert end["type"] == "BOOKMARK"
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    stream.close()


def test_15_leaving_a_selector_is_a_deletion_and_a_new_object_is_no_change(server, client):
    server.put("services", service("web", {"app": "a"}))
    stream = client.watch(f"{SERVICES}?watch=true&labelSelector=app=a&timeoutSeconds=3"
                          f"&resourceVersion={server.store.version}")
    patch(client, "web", {"metadata": {"labels": {"app": "b"}}})
    patch(client, "web", {"metadata": {"labels": {"x": "y"}}})
    patch(client, "web", {"metadata": {"labels": {"app": "a"}}})
    client.request("DELETE", f"{DEFAULT}/web")
    server.put("services", service("web", {"app": "a"}))
    events = stream.all()
    assert [event["type"] for event in events] == ["DELETED", "ADDED", "DELETED", "ADDED"]
    assert events[2]["object"]["metadata"]["uid"] != events[3]["object"]["metadata"]["uid"]


def test_16_nothing_changed_is_no_event_and_finalizers_hold_an_object(server, client):
    put(server, "web")
    version = server.store.version
    patch(client, "web", {"metadata": {"finalizers": ["a/b"]}})
    same = patch(client, "web", {"metadata": {"finalizers": ["a/b"]}}).value
    assert int(same["metadata"]["resourceVersion"]) == version + 1 == server.store.version
    client.request("DELETE", f"{DEFAULT}/web")
    patch(client, "web", {"metadata": {"finalizers": []}})
    events = client.watch(f"{SERVICES}?watch=true&timeoutSeconds=1&resourceVersion={version + 1}").all()
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    assert "deletionTimestamp" in events[0]["object"]["metadata"]
    assert events[1]["object"]["metadata"]["resourceVersion"] == str(server.store.version)


def test_17_a_slow_reader_is_sent_away_cleanly(server, client):
    big = ["192.0.2.1"] * 20_000
    stream = client.watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}", 20)
    for number in range(60):
        server.put("services", service(f"s{number}", externalIPs=big))
    events = stream.all()
    assert stream.ended and len(events) < 60


def test_19_what_is_not_allowed_or_not_there_is_told_without_a_stream():
    with ApiServer(tokens={"reader": {("list", "", "services", None)}}) as server:
        assert Client(server, "reader").get(f"{SERVICES}?watch=true").code == 403
        assert Client(server, "reader").get("/apis/no.such/v1/things?watch=true").code == 404


def test_20_a_connection_can_be_cut_inside_an_object(server, client):
    put(server, "web")
    server.faults.cut_after = 50
    stream = client.watch(f"{SERVICES}?watch=true")
    with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
        stream.all()
    assert not stream.ended


def test_18_a_watch_can_fall_silent(server, client):
    server.faults.silent = True
    stream = client.watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}", 1)
    put(server, "web")
    with pytest.raises(TimeoutError):
        stream.next()
    stream.close()


# Rights.

def test_21_a_bad_token_is_401_and_none_is_anonymous(server):
    assert Client(server, "junk").get(SERVICES).code == 401
    anonymous = Client(server, None).get(SERVICES)
    assert anonymous.code == 403 and "system:anonymous" in anonymous.value["message"]


def test_24_refusals_say_when_to_come_again(server, client):
    server.faults.refuse.extend([(429, {"Retry-After": "1"}), (503, {"Retry-After": "2"})])
    first, second, third = (client.get(SERVICES) for _ in range(3))
    assert (first.code, first.headers["Retry-After"]) == (429, "1")
    assert (second.code, second.headers["Retry-After"]) == (503, "2")
    assert third.code == 200


def test_30_what_the_least_rights_do_not_hold_is_refused():
    rights = {("list", "", "services", None), ("patch", "", "services/status", None)}
    with ApiServer(tokens={"adapter": rights}) as server:
        client = Client(server, "adapter")
        assert client.get(SERVICES).code == 200
        assert client.get("/api/v1/pods").code == 403
        server.put("services", service())
        assert patch(client, "web", {"status": {}}, sub="/status").code == 200
        assert patch(client, "web", {"spec": {}}).code == 403


def test_30_a_right_is_of_an_api_group_and_of_a_namespace_or_of_all():
    rights = {("list", "", "services", "default"), ("create", "", "events", None),
              ("create", "coordination.k8s.io", "leases", "default")}
    with ApiServer(tokens={"adapter": rights}) as server:
        client = Client(server, "adapter")
        assert client.get(DEFAULT).code == 200
        assert client.get(DEFAULT.replace("default", "other")).code == 403
        everywhere = client.get(SERVICES)
        assert everywhere.code == 403 and everywhere.value["message"].endswith("at the cluster scope")
        event = {"metadata": {"name": "e"}, "reason": "r", "involvedObject": {}}
        for space in ("default", "other"):
            assert client.request("POST", f"/api/v1/namespaces/{space}/events", event).code == 201
        assert client.request("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event).code == 403
        leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
        lease = {"metadata": {"name": "l"}, "spec": {}}
        assert client.request("POST", leases.format("default"), lease).code == 201
        refused = client.request("POST", leases.format("other"), lease)
        assert refused.code == 403 and refused.value["message"] == (
            'leases.coordination.k8s.io is forbidden: User "test" cannot create resource "leases" in API group '
            '"coordination.k8s.io" in the namespace "other"')


# Writes.

def test_25_writes_are_refused_in_the_words_of_a_real_server(server, client):
    put(server, "web")
    held = client.get(f"{DEFAULT}/web").value
    assert client.request("POST", DEFAULT, service()).value["reason"] == "AlreadyExists"
    patch(client, "web", {"metadata": {"labels": {"a": "b"}}})
    assert client.request("PUT", f"{DEFAULT}/web", held).value["reason"] == "Conflict"
    stale = {"metadata": {"resourceVersion": held["metadata"]["resourceVersion"], "labels": {"c": "d"}}}
    assert patch(client, "web", stale).code == 409
    assert patch(client, "web", {"metadata": {"labels": {"c": "d"}}}).code == 200, "the last writer wins"
    assert patch(client, "web", {}, "application/yaml").code == 415
    assert client.get(f"{DEFAULT}/none").code == 404
    bad = client.request("POST", DEFAULT, service("bad", externalTrafficPolicy="Local"))
    assert bad.code == 422 and bad.value["details"]["causes"][0]["field"] == "spec.externalTrafficPolicy"


def test_26_a_status_write_changes_status_and_metadata_alone(server, client):
    put(server, "web", type="LoadBalancer")
    body = {"metadata": {"finalizers": ["a/b"]}, "spec": {"type": "ClusterIP"},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    after = patch(client, "web", body, sub="/status").value
    assert after["spec"]["type"] == "LoadBalancer" and after["metadata"]["finalizers"] == ["a/b"]
    assert after["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1", "ipMode": "VIP"}]
    assert patch(client, "web", {"status": {"loadBalancer": {}}}).value["status"] == after["status"]
    wrong = {"status": {"loadBalancer": {"ingress": [{"hostname": "a.b", "ipMode": "VIP"}]}}}
    assert patch(client, "web", wrong, sub="/status").code == 422
    put(server, "plain")
    assert patch(client, "plain", body, sub="/status").code == 422


def test_27_patches_treat_lists_each_in_their_way(server, client):
    put(server, "web")
    finalizers = lambda body, kind=MERGE: patch(client, "web", body, kind).value["metadata"]["finalizers"]  # noqa: E731
    assert finalizers({"metadata": {"finalizers": ["a/a"]}}) == ["a/a"]
    assert finalizers({"metadata": {"finalizers": ["b/b"]}}, STRATEGIC) == ["a/a", "b/b"]
    guarded = [{"op": "test", "path": "/metadata/finalizers/0", "value": "a/a"},
               {"op": "remove", "path": "/metadata/finalizers/0"}]
    assert finalizers(guarded, JSON_PATCH) == ["b/b"]
    assert patch(client, "web", guarded, JSON_PATCH).code == 422
    assert finalizers({"metadata": {"finalizers": ["c/c"]}}) == ["c/c"], "a merge patch replaces the list"


def test_28_a_lease_is_lost_to_a_newer_one_and_counts_microseconds(client):
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "x"}, "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}
    held = client.request("POST", leases, lease).value
    assert client.request("PUT", f"{leases}/x", held | {"spec": {"holderIdentity": "a"}}).code == 200
    assert client.request("PUT", f"{leases}/x", held | {"spec": {"holderIdentity": "b"}}).code == 409
    seconds = {"metadata": {"name": "y"}, "spec": {"renewTime": "2026-01-01T00:00:00Z"}}
    assert client.request("POST", leases, seconds).code == 400


def test_29_an_event_needs_its_fields_and_the_core_form_works(client):
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    whole = {"metadata": {"generateName": "web-"}, "eventTime": "2026-01-01T00:00:00.000000Z",
             "reportingController": "c", "reportingInstance": "i", "action": "a", "reason": "r",
             "type": "Warning", "regarding": {"kind": "Service", "name": "web"}}
    assert client.request("POST", events, whole).code == 201
    assert client.request("POST", events, {key: value for key, value in whole.items() if key != "action"}).code == 422
    assert client.request("POST", events, whole | {"metadata": {"generateName": "web."}}).code == 422
    core = {"metadata": {"generateName": "web-"}, "reason": "r", "involvedObject": {}}
    assert client.request("POST", "/api/v1/namespaces/default/events", core).code == 201


# What kubectl asks for besides.

def test_32_groups_and_resources_are_told(client):
    assert client.get("/api").value["versions"] == ["v1"]
    assert "discovery.k8s.io" in [group["name"] for group in client.get("/apis").value["groups"]]
    assert client.get("/apis/apps").value["preferredVersion"]["groupVersion"] == "apps/v1"
    names = [each["name"] for each in client.get("/api/v1").value["resources"]]
    assert {"services", "services/status", "nodes"} <= set(names)


def test_33_a_table_has_kubectls_columns(server, client):
    put(server, "web", type="LoadBalancer")
    table = client.get(SERVICES, Accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json").value
    assert [column["name"] for column in table["columnDefinitions"]][:5] == [
        "Name", "Type", "Cluster-IP", "External-IP", "Port(s)"]
    assert table["rows"][0]["cells"][3] == "<pending>"


def test_33_a_watch_of_tables_has_columns_once(server, client):
    put(server, "a", "b")
    lines = client.get(f"{SERVICES}?watch=true&timeoutSeconds=0.2",
                       Accept="application/json;as=Table;v=v1;g=meta.k8s.io").body.splitlines()
    tables = [json.loads(line)["object"] for line in lines]
    assert [table["rows"][0]["cells"][0] for table in tables] == ["a", "b"]
    assert [bool(table["columnDefinitions"]) for table in tables] == [True, False]


def test_34_there_is_no_openapi(client):
    answer = client.get("/openapi/v2")
    assert answer.code == 404 and answer.value["kind"] == "Status"


def test_35_a_strategic_patch_goes_into_ports_by_their_number(server, client):
    put(server, "web", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}])
    ports = [{"port": 80, "$patch": "delete"}, {"port": 81, "targetPort": 8081}, {"name": "c", "port": 82}]
    body = {"spec": {"ports": ports, "$setElementOrder/ports": [{"port": 81}, {"port": 82}]}}
    ports = patch(client, "web", body, STRATEGIC).value["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [("b", 81, 8081), ("c", 82, 82)]


def test_36_a_new_service_has_defaults_a_cluster_address_and_node_ports(client):
    made = client.request("POST", DEFAULT, service(type="NodePort")).value
    assert made["spec"]["clusterIP"].startswith("10.96.") and made["spec"]["externalTrafficPolicy"] == "Cluster"
    port, = made["spec"]["ports"]
    assert port["protocol"] == "TCP" and port["targetPort"] == 80 and 30000 <= port["nodePort"] <= 32767
    plain = patch(client, "web", {"spec": {"type": "ClusterIP"}}).value
    assert "nodePort" not in plain["spec"]["ports"][0] and plain["spec"]["clusterIP"] == made["spec"]["clusterIP"]


def test_many_loaded_at_once_are_as_if_each_had_been_written(server, client):
    stream = client.watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}")
    server.load("services", (service(f"s{number}") for number in range(3)))
    items = client.get(SERVICES).value["items"]
    assert [item["metadata"]["name"] for item in items] == ["s0", "s1", "s2"]
    assert [stream.next()["object"]["metadata"] for _ in range(3)] == [item["metadata"] for item in items]
    written = server.put("services", service("s3"))
    assert len({item["metadata"]["uid"] for item in items}) == 3
    assert {*written} == {*items[0], "kind", "apiVersion"} and {*written["metadata"]} == {*items[0]["metadata"]}
    assert written["spec"].keys() == items[0]["spec"].keys()
    with pytest.raises(ApiError):
        server.load("services", [service("s0")])
    stream.close()


def test_a_class_is_fixed_and_leaving_the_type_clears_what_is_its(server, client):
    put(server, "web", type="LoadBalancer", loadBalancerClass="a/b")
    patch(client, "web", {"metadata": {"finalizers": ["x/y"]},
                          "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}, sub="/status")
    assert patch(client, "web", {"spec": {"loadBalancerClass": "c/d"}}).code == 422
    after = patch(client, "web", {"spec": {"type": "ClusterIP"}}).value
    assert "loadBalancerClass" not in after["spec"] and after["status"] == {"loadBalancer": {}}
    assert after["metadata"]["finalizers"] == ["x/y"]


async def _call(function):
    return function()


def _do(function):
    return _call(function)
