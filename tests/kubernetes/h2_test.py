# SPDX-License-Identifier: Apache-2.0
"""Over HTTP/2 the test server is what it is over HTTP/1.1 (KUBERNETES.md 1.23); curl is the client."""

import json
import pathlib
import socket
import subprocess
import time

import pytest

import tls
from apiserver import ApiServer
from client import Client
from h2 import Http2Front

SERVICES = "/api/v1/services"


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]} | spec}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return tls.Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server():
    with ApiServer(bookmark_seconds=0.2) as made:
        made.put("services", service("web"))
        yield made


@pytest.fixture
def front(server, authority, tmp_path):
    with Http2Front(server, *authority.issue("front"), tmp_path) as made:
        yield made


def argv(front, authority, *words):
    return ["curl", "-sSN", "--max-time", "20", "--cacert", authority.certificate, "-H", "Authorization: Bearer admin",
            *[f"{front.url}{word}" if word.startswith("/") else word for word in words]]


def curl(front, authority, *words):
    return subprocess.run(argv(front, authority, *words), capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(("offered", "chosen"), [
    (["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
def test_23_alpn_offers_both(front, authority, offered, chosen):
    context = tls.client_context(authority.certificate)
    if offered:
        context.set_alpn_protocols(offered)
    with socket.create_connection((front.address, front.port), 10) as plain, context.wrap_socket(
            plain, server_hostname=front.address) as wrapped:
        assert wrapped.selected_alpn_protocol() == chosen


@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_23_a_list_and_a_write_are_the_same_over_both(front, authority, option, version):
    done = curl(front, authority, option, "-w", "%{http_version}", SERVICES)
    body, told = done.stdout.rsplit("\n", 1)
    assert told == version and json.loads(body)["items"][0]["metadata"]["name"] == "web"
    patch = {"metadata": {"labels": {"a": version}}}
    done = curl(front, authority, option, "-X", "PATCH", "-d", json.dumps(patch), "-H",
                "Content-Type: application/merge-patch+json", "/api/v1/namespaces/default/services/web")
    assert json.loads(done.stdout)["metadata"]["labels"] == {"a": version}


def test_23_a_large_list_comes_compressed_over_h2(server, front, authority):
    server.put("services", *[service(f"s{number}") for number in range(400)])
    done = curl(front, authority, "--http2", "--compressed", "-w", "%header{content-encoding}", SERVICES)
    body, encoding = done.stdout.rsplit("\n", 1)
    assert len(json.loads(body)["items"]) == 401 and encoding == "gzip"


def test_23_a_watch_over_h2_says_things_when_they_are_and_ends_cleanly(server, front, authority):
    with subprocess.Popen(argv(front, authority, "--http2", f"{SERVICES}?watch=true&allowWatchBookmarks=true"
                               f"&resourceVersion={server.store.version}&timeoutSeconds=3"),
                          stdout=subprocess.PIPE, text=True) as watch:
        assert json.loads(watch.stdout.readline())["type"] == "BOOKMARK"
        begun = time.monotonic()
        server.put("services", service("late"))
        event = {"type": "BOOKMARK"}
        while event["type"] == "BOOKMARK":
            event = json.loads(watch.stdout.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "late")
        assert time.monotonic() - begun < 1.5, "not kept until the end"
        watch.stdout.read()
        assert watch.wait(10) == 0


def test_23_two_watches_and_a_list_share_a_connection(server, front, authority):
    watch = f"{SERVICES}?watch=true&resourceVersion=0&timeoutSeconds=1"
    done = curl(front, authority, "--http2", "--parallel", "-w", "%{num_connects}\n", watch,
                watch.replace("services", "nodes"), SERVICES)
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.isdigit()].count("1") == 1


def test_23_a_cut_is_an_error_of_the_stream_not_its_end(server, front, authority):
    server.faults.cut_at.append(("services", "inside"))
    done = curl(front, authority, "--http2", f"{SERVICES}?watch=true&resourceVersion=0")
    assert done.returncode == 92, "curl's word for a stream that was not closed cleanly"
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.stdout)


def test_23_goaway_comes_after_so_many_requests_and_a_new_connection_is_taken(server, authority, tmp_path):
    with Http2Front(server, *authority.issue("front"), tmp_path, requests_max=2) as front:
        done = curl(front, authority, "--http2", "-v", *[SERVICES] * 5)
        assert done.returncode == 0 and done.stdout.count("ServiceList") == 5
        assert done.stderr.count("Connected to") == 3


def test_23_the_server_may_be_away_behind_its_front(server, front, authority):
    server.kill()
    assert Client(front, context=tls.client_context(authority.certificate)).get(SERVICES).code == 502
    server.restart()
    assert "ServiceList" in curl(front, authority, "--http2", SERVICES).stdout


def test_nginx_leaves_no_process(server, authority, tmp_path):
    with Http2Front(server, *authority.issue("front"), tmp_path) as front:
        pids = [front.process.pid]
        deadline = time.monotonic() + 10
        while len(pids) == 1 and time.monotonic() < deadline:  # it listens before it has its worker
            found = subprocess.run(["pgrep", "-P", str(pids[0])], capture_output=True, check=False, text=True)
            pids += map(int, found.stdout.split())
    assert len(pids) == 2 and not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
