# SPDX-License-Identifier: Apache-2.0
"""Events of core/v1 and events.k8s.io/v1 are the same ones (KUBERNETES.md 1.29), and can be asked for by
what they are about."""

import pytest

CORE_ALL, NEW_ALL = "/api/v1/events", "/apis/events.k8s.io/v1/events"
CORE, NEW = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
MERGE = "application/merge-patch+json"
STAMP = "2026-01-01T00:00:00.000000Z"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def new_event(name="web.1", about="web", **fields):
    return {"metadata": {"name": name}, "eventTime": STAMP, "reportingController": "sluice.dev/adapter",
            "reportingInstance": "pod-1", "action": "Serve", "reason": "Served", "type": "Normal",
            "regarding": {"kind": "Service", "name": about, "namespace": "default", "uid": f"uid-of-{about}"},
            "note": "served at 203.0.113.1"} | fields


def core_event(name="web.2", about="web", **fields):
    return {"metadata": {"name": name}, "reason": "Killed", "type": "Warning", "message": "is gone", "count": 3,
            "involvedObject": {"kind": "Pod", "name": about, "namespace": "default"},
            "source": {"component": "kubelet", "host": "node1"}, "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:01:00Z"} | fields


def names(answer):
    return [item["metadata"]["name"] for item in answer.value["items"]]


@pytest.mark.parametrize("path", [CORE, CORE_ALL])
def test_29_a_new_event_shows_in_the_core_form(client, path):
    made = client.request("POST", NEW, new_event()).value
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "served at 203.0.113.1")
    seen, = client.get(path).value["items"]
    assert seen["metadata"] == made["metadata"] and seen["involvedObject"] == new_event()["regarding"]
    assert seen["message"] == "served at 203.0.113.1" and seen["reportingComponent"] == "sluice.dev/adapter"
    assert seen["source"] == {} and seen["firstTimestamp"] is None and seen["lastTimestamp"] is None
    assert seen["eventTime"] == STAMP and not {"note", "regarding", "reportingController"} & seen.keys()
    one = client.get(f"{CORE}/web.1").value
    assert one == seen | {"kind": "Event", "apiVersion": "v1"}


@pytest.mark.parametrize("path", [NEW, NEW_ALL])
def test_29_a_core_event_shows_in_the_new_form(client, path):
    client.request("POST", CORE, core_event())
    seen, = client.get(path).value["items"]
    assert seen["regarding"]["name"] == "web" and seen["note"] == "is gone" and seen["deprecatedCount"] == 3
    assert seen["deprecatedSource"] == {"component": "kubelet", "host": "node1"}
    assert (seen["deprecatedFirstTimestamp"], seen["deprecatedLastTimestamp"]) == (
        "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")
    assert not {"message", "involvedObject", "source", "count"} & seen.keys() and seen["reportingController"] == ""
    assert client.get(f"{NEW}/web.2").value["apiVersion"] == "events.k8s.io/v1"


def test_29_either_view_is_watched_patched_and_deleted(server, client):
    query = f"?watch=true&resourceVersion={server.store.version}"
    streams = {"note": client.watch(NEW_ALL + query), "message": client.watch(CORE + query)}
    client.request("POST", NEW, new_event())
    series = {"series": {"count": 2, "lastObservedTime": STAMP}}
    assert client.request("PATCH", f"{NEW}/web.1", series, MERGE).value["series"]["count"] == 2
    assert client.request("PATCH", f"{CORE}/web.1", {"message": "again"}, MERGE).value["message"] == "again"
    assert client.request("DELETE", f"{NEW}/web.1").code == 200
    assert client.get(f"{CORE}/web.1").code == 404
    for field, stream in streams.items():
        events = [stream.next() for _ in range(4)]
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
        assert [event["object"][field] for event in events] == ["served at 203.0.113.1"] * 2 + ["again"] * 2
        assert {event["object"]["apiVersion"] for event in events} == {
            "events.k8s.io/v1" if field == "note" else "v1"}
        stream.close()


def test_29_the_new_view_changes_a_series_only_and_no_change_is_no_version(server, client):
    client.request("POST", NEW, new_event())
    refused = client.request("PATCH", f"{NEW}/web.1", {"note": "else"}, MERGE)
    assert refused.code == 422 and refused.value["details"]["causes"][0]["field"] == "note"
    version = server.store.version
    assert client.request("PUT", f"{NEW}/web.1", client.get(f"{NEW}/web.1").value).code == 200
    assert client.request("PUT", f"{CORE}/web.1", client.get(f"{CORE}/web.1").value).code == 200
    assert server.store.version == version


@pytest.mark.parametrize("selector, found", [
    ("involvedObject.name=web", ["web.1", "web.2"]), ("involvedObject.kind=Service", ["api.1", "web.1"]),
    ("involvedObject.uid=uid-of-api", ["api.1"]), ("reason==Killed", ["web.2"]), ("type!=Normal", ["web.2"]),
    ("involvedObject.namespace=other", []), ("source=kubelet", ["web.2"]), ("metadata.name=api.1", ["api.1"]),
    ("involvedObject.name=web,involvedObject.kind=Service", ["web.1"])])
def test_events_are_found_by_their_fields(client, selector, found):
    for path, event in ((NEW, new_event()), (NEW, new_event("api.1", "api")), (CORE, core_event())):
        client.request("POST", path, event)
    asked = selector.replace("=", "%3D").replace("!", "%21")
    assert names(client.get(f"{CORE}?fieldSelector={asked}")) == found
    new_words = asked.replace("involvedObject", "regarding").replace("source", "metadata.name")
    if "source" not in selector:
        assert names(client.get(f"{NEW_ALL}?fieldSelector={new_words}")) == found


def test_a_field_that_is_none_to_ask_by_is_refused(server, client):
    server.put("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}},
               {"metadata": {"name": "api"}, "spec": {"ports": [{"port": 80}]}})
    assert names(client.get("/api/v1/services?fieldSelector=metadata.name=web")) == ["web"]
    for path, selector in (("/api/v1/services", "spec.x=1"), (CORE, "regarding.name=web"),
                           (NEW, "involvedObject.name=web"), (CORE, "reason")):
        assert client.get(f"{path}?fieldSelector={selector}").code == 400, selector


def test_a_watch_by_fields_sees_only_what_fits(server, client):
    stream = client.watch(f"{CORE}?watch=true&resourceVersion={server.store.version}&timeoutSeconds=1"
                          "&fieldSelector=involvedObject.name%3Dapi")
    client.request("POST", NEW, new_event())
    client.request("POST", NEW, new_event("api.1", "api"))
    assert [event["object"]["metadata"]["name"] for event in stream.all()] == ["api.1"]


@pytest.mark.parametrize("path", [CORE, NEW])
def test_33_the_table_of_events_is_kubectls(server, client, path):
    server.clock.skew = 300
    client.request("POST", NEW, new_event(eventTime=server.clock.stamp()[:-1] + ".000000Z"))
    server.clock.skew = 300 + 310
    table = client.get(path, Accept=TABLE).value
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Last Seen", "Type", "Reason", "Object", "Message"]
    row = dict(zip([column["name"] for column in table["columnDefinitions"]], table["rows"][0]["cells"]))
    assert row["Last Seen"].startswith("5m1") and row["Object"] == "service/web" and row["Count"] == 1
    assert row["Source"] == "sluice.dev/adapter" and row["Message"] == "served at 203.0.113.1"
