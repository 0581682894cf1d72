# SPDX-License-Identifier: Apache-2.0
"""What a test can let go wrong: the scripted faults at the end of KUBERNETES.md section 1."""

import calendar
import email.utils
import http.client
import json
import math
import time

import pytest

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
MERGE = "application/merge-patch+json"


def service(name="web", **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]} | spec}


def endpoint_slice(name="web-1", **fields):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.0.1"]}], "ports": [{"port": 80}]} | fields


def watch(client, path=SERVICES, seconds=10, **query):
    query = {"watch": "true", "resourceVersion": client.server.store.version} | query
    return client.watch(path + "?" + "&".join(f"{name}={value}" for name, value in query.items()), seconds)


def names(events):
    return [event["object"]["metadata"]["name"] for event in events]


# Cuts.

@pytest.mark.parametrize(("place", "whole"), [("before", ["first"]), ("inside", ["first"]),
                                              ("after", ["first", "second"])])
def test_a_watch_is_cut_before_inside_or_after_an_event_and_resumes(server, client, place, whole):
    stream = watch(client)
    server.put("services", service("first"))
    seen = [stream.next()]
    server.faults.cut_at.append(("services", place))
    server.put("services", service("second"))
    with pytest.raises(ConnectionResetError):
        while True:
            seen.append(stream.next())
    assert names(seen) == whole and not stream.ended
    version = seen[-1]["object"]["metadata"]["resourceVersion"]
    again = watch(client, resourceVersion=version, timeoutSeconds=0.5).all()
    assert names(seen + again) == ["first", "second"], "each once"


def test_a_cut_is_for_the_resource_it_names(server, client):
    server.faults.cut_at.append(("endpointslices", "before"))
    services, slices = watch(client), watch(client, SLICES)
    server.put("services", service())
    assert services.next()["type"] == "ADDED"
    server.put("endpointslices", endpoint_slice())
    with pytest.raises(ConnectionResetError):
        slices.next()
    services.close()


def test_octets_can_come_one_by_one(server, client):
    server.faults.byte_delay = 0.0005
    stream = watch(client)
    server.put("services", service())
    assert stream.next()["object"]["metadata"]["name"] == "web"
    assert {len(chunk) for chunk in stream.chunks} == {1}
    stream.close()


def test_an_event_that_comes_octet_by_octet_comes_in_pieces_once_that_is_over(server, client):
    server.faults.byte_delay = 0.001
    stream = watch(client)
    server.put("services", service() | {"metadata": {"name": "web", "annotations": {"a": "x" * 100_000}}})
    time.sleep(0.2)
    server.faults.byte_delay = 0
    assert stream.next()["object"]["metadata"]["name"] == "web"
    assert len(stream.chunks[0]) == 1 and len(stream.chunks) < 1_000
    stream.close()


def test_events_can_come_twice(server, client):
    server.put("services", service())
    server.faults.duplicate = True
    first, second = watch(client, resourceVersion=0, timeoutSeconds=0.2).all()
    assert first == second


# Order.

@pytest.mark.parametrize(("held", "first", "second"), [("services", SLICES, SERVICES),
                                                       ("endpointslices", SERVICES, SLICES)])
def test_one_resource_can_be_held_back_behind_another(server, client, held, first, second):
    server.faults.hold.add(held)
    early, late = watch(client, first), watch(client, second, 0.5)
    server.put("services", service())
    server.put("endpointslices", endpoint_slice())
    assert early.next()["type"] == "ADDED"
    with pytest.raises(TimeoutError):
        late.next()
    late = watch(client, second, resourceVersion=1)
    server.faults.hold.clear()
    assert late.next()["type"] == "ADDED"
    early.close()


def test_events_and_lists_of_one_resource_can_be_late(server, client):
    server.faults.delay["endpointslices"] = 1
    services, slices = watch(client), watch(client, SLICES)
    begun = time.monotonic()
    server.put("services", service())
    server.put("endpointslices", endpoint_slice())
    services.next()
    assert time.monotonic() - begun < 0.9
    slices.next()
    assert time.monotonic() - begun > 0.99
    begun = time.monotonic()
    assert client.get(SERVICES).code == 200 and time.monotonic() - begun < 0.9
    assert client.get(SLICES).code == 200 and time.monotonic() - begun > 0.99


def test_no_bookmark_overtakes_an_event_that_is_held(server, client):
    server.bookmark_seconds = 0.1
    server.faults.hold.add("services")
    stream = watch(client, allowWatchBookmarks="true", timeoutSeconds=1)
    begin = server.store.version
    server.put("services", service())
    assert {event["object"]["metadata"]["resourceVersion"] for event in stream.all()} <= {str(begin)}
    server.faults.hold.clear()
    assert names(watch(client, resourceVersion=begin, timeoutSeconds=0.3).all()) == ["web"]


def test_what_a_silent_watch_owes_comes_when_it_speaks_again(server, client):
    server.faults.silent = True
    stream = watch(client, timeoutSeconds=0.3)
    server.put("services", service())
    time.sleep(0.6)
    assert stream.chunks == [], "nor does it end"
    server.faults.silent = False
    assert names(stream.all()) == ["web"] and stream.ended


# Storms.

def test_a_storm_of_401_lasts_until_it_is_over(server, client):
    stream = watch(client)
    server.faults.storm = (401, {})
    assert [client.get(SERVICES).code for _ in range(20)] == [401] * 20
    server.put("services", service())
    assert stream.next()["type"] == "ADDED", "a watch that is open is not asked again"
    server.faults.storm = None
    assert client.get(SERVICES).code == 200
    stream.close()


def test_a_storm_of_410_is_for_every_watch_and_no_list(server, client):
    server.faults.gone = math.inf
    for _ in range(10):
        version = client.get(SERVICES).value["metadata"]["resourceVersion"]
        event, = watch(client, resourceVersion=version).all()
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    server.faults.gone = 0
    assert watch(client, timeoutSeconds=0.2).all() == []


# Clocks.

@pytest.mark.parametrize("skew", [-3600, 86400])
def test_the_servers_clock_can_be_wrong(server, client, skew):
    server.clock.skew = skew
    server.put("pods", {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}})
    answer = client.request("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=1")
    date = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert abs(date - time.time() - skew) < 30
    for field in ("creationTimestamp", "deletionTimestamp"):
        stamp = calendar.timegm(time.strptime(answer.value["metadata"][field], "%Y-%m-%dT%H:%M:%SZ"))
        assert abs(stamp - time.time() - skew) < 30


# Sizes.

def test_a_list_of_ten_thousand_whole_and_in_pages(server, client):
    server.put("services", *[service(f"s{number:05}") for number in range(10_000)])
    assert len(client.get(SERVICES).value["items"]) == 10_000
    assert len(client.get(SERVICES, Accept_Encoding="gzip").body) < 2_000_000
    seen, token = [], ""
    while token is not None:
        page = client.get(f"{SERVICES}?limit=2500&continue={token}").value
        seen += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
    assert seen == [f"s{number:05}" for number in range(10_000)]
    initial = watch(client, resourceVersion=0, timeoutSeconds=0.1)
    assert len(initial.all()) == 10_000


def test_an_object_of_a_megabyte_and_a_half(server, client):
    stream = watch(client)
    big = service() | {"metadata": {"name": "web", "annotations": {"a": "x" * 1_500_000}}}
    assert client.request("POST", "/api/v1/namespaces/default/services", big).code == 201
    line = stream.next_line()
    assert len(line) > 1_500_000 and json.loads(line)["object"]["metadata"]["name"] == "web"
    assert len(client.get(SERVICES).body) > 1_500_000
    stream.close()


@pytest.mark.parametrize("longer", [10, -10])
def test_a_content_length_can_be_wrong_either_way(server, client, longer):
    server.put("services", service())
    server.faults.longer = longer
    with pytest.raises(http.client.IncompleteRead if longer > 0 else json.JSONDecodeError):
        assert client.get(SERVICES).value
    server.faults.longer = 0
    assert client.get(SERVICES).code == 200


# Objects.

def test_an_object_can_be_of_wrong_types_wherever_it_is_told(server, client):
    server.put("services", service("good"), service("bad"))
    server.faults.spoil["bad"] = {"spec": {"ports": "eighty"}, "metadata": {"labels": [1]}}
    stream = watch(client)
    ports = {item["metadata"]["name"]: item["spec"]["ports"] for item in client.get(SERVICES).value["items"]}
    assert ports["bad"] == "eighty" and ports["good"][0]["port"] == 80
    server.put("services", service("bad", type="NodePort"), service("good", type="NodePort"))
    events = [stream.next()["object"] for _ in range(2)]
    assert events[0]["spec"]["ports"] == "eighty" and events[1]["spec"]["ports"][0]["port"] == 80
    del server.faults.spoil["bad"]
    assert client.get("/api/v1/namespaces/default/services/bad").value["spec"]["ports"][0]["port"] == 80
    stream.close()


def test_31_unknown_events_and_lines_that_are_no_json_can_be_said(server, client):
    stream, other = watch(client), watch(client, SLICES, 0.3)
    server.say("services", {"type": "RENAMED", "object": {"kind": "Service"}})
    server.say("services", b"{nothing of the kind\n")
    server.put("services", service())
    assert stream.next()["type"] == "RENAMED"
    assert stream.next_line() == b"{nothing of the kind"
    assert stream.next()["type"] == "ADDED"
    with pytest.raises(TimeoutError):
        other.next()
    stream.close()


def test_31_nulls_and_what_nobody_knows_are_kept(server, client):
    server.put("endpointslices", endpoint_slice(endpoints=None, ports=None, surprise={"a": 1}, addressType="Carrier"))
    item, = client.get(SLICES).value["items"]
    assert item["endpoints"] is None and item["ports"] is None
    assert item["surprise"] == {"a": 1} and item["addressType"] == "Carrier"


# Mistakes that the server once made.

def test_a_patch_that_changes_nothing_leaves_the_version_where_it_is(server, client):
    server.put("services", service())
    path = "/api/v1/namespaces/default/services/web"
    for body in ({"spec": {"type": "ClusterIP"}}, {"metadata": {"labels": None}}):
        assert client.request("PATCH", path, body, MERGE).value["metadata"]["resourceVersion"] == "2"
    assert client.get(path).value["metadata"]["resourceVersion"] == "2"


def test_12_a_watch_from_the_future_is_silent_until_it_ends(server, client):
    server.bookmark_seconds = 0.1
    stream = watch(client, resourceVersion=server.store.version + 100, timeoutSeconds=1, allowWatchBookmarks="true")
    server.put("services", service())
    assert stream.all() == []


def test_a_webhook_can_deny_changes_of_one_object(server, client):
    for name in ("web", "other"):
        server.put("services", service(name))
    server.faults.deny.add("web")
    denied, done = (client.request("PATCH", f"{SERVICES.replace('v1', 'v1/namespaces/default')}/{name}",
                                   {"metadata": {"labels": {"a": "b"}}}, MERGE) for name in ("web", "other"))
    assert (denied.code, denied.value["reason"], done.code) == (403, "Forbidden", 200)
    assert "denied the request" in denied.value["message"]


def test_a_body_that_is_no_json_is_400(client):
    assert client.request("POST", "/api/v1/namespaces/default/services", b"{nothing").code == 400
