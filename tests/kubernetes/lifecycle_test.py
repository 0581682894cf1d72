# SPDX-License-Identifier: Apache-2.0
"""The server ends as processes end, and comes back on its port (KUBERNETES.md 1.11, 1.18)."""

import errno
import http.client
import socket
import time

import pytest

import tls
from apiserver import ApiServer
from client import Client

SERVICES = "/api/v1/services"


def service(name):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


@pytest.fixture(params=["plain", "tls"])
def server(request, tmp_path):
    """The client has what it needs for either."""
    context, authority = tls.make(tmp_path) if request.param == "tls" else (None, None)
    with ApiServer(ssl=context) as made:
        made.put("services", service("web"))
        made.client = Client(made, context=tls.client_context(authority) if authority else None)
        yield made


def watch(server, seconds=10):
    return server.client.watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}"
                               "&allowWatchBookmarks=true", seconds)


def test_18_after_sigterm_a_watch_is_silent_and_then_cut(server):
    server.bookmark_seconds = 0.2
    stream = watch(server)
    assert stream.next()["type"] == "BOOKMARK"
    begun = time.monotonic()
    server.stop_gracefully(1.5)
    server.put("services", service("late"))
    with pytest.raises(ConnectionResetError):
        while True:
            assert stream.next()["type"] == "BOOKMARK", "on its way before the signal, at the most"
    assert not stream.ended and time.monotonic() - begun > 1.4
    server.wait_stopped(10)


def test_18_after_sigterm_nobody_is_let_in_and_who_asks_nothing_is_sent_away(server):
    make = http.client.HTTPSConnection if server.ssl else http.client.HTTPConnection
    idle = make(server.address, server.port, timeout=2, **({"context": server.client.context} if server.ssl else {}))
    idle.request("GET", "/version", headers=server.client.headers())
    idle.getresponse().read()
    server.stop_gracefully(30)
    assert idle.sock.recv(1) == b"", "not only after half a minute"
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        server.client.get(SERVICES)


def test_18_after_sigkill_a_watch_has_no_end_and_nobody_answers(server):
    stream = watch(server)
    server.put("services", service("late"))
    assert stream.next()["object"]["metadata"]["name"] == "late"
    server.kill()
    with pytest.raises(ConnectionResetError):
        stream.next()
    assert not stream.ended
    with pytest.raises(ConnectionRefusedError):
        server.client.get(SERVICES)


def test_18_sigkill_is_a_reset_in_the_middle_of_an_object():
    with ApiServer() as server:
        server.put("services", service("web"))
        server.client = Client(server)
        stream = watch(server)
        server.kill()
        size = int(stream.file.readline(), 16)
        half = stream.file.read1(size)
        assert half.startswith(b'{"type":"MODIFIED"') and len(half) < size and b"\n" not in half
        with pytest.raises(ConnectionResetError) as reset:
            stream.file.read1(size)
        assert reset.value.errno == errno.ECONNRESET, "not an end"


def test_18_it_is_back_on_the_same_port_and_11_knows_no_version_from_before(server):
    port, newest = server.port, server.store.version
    for end in (server.kill, lambda: server.stop_gracefully(60), lambda: None):
        end()
        server.put("services", service("meanwhile"))
        server.restart()
        assert server.port == port
        names = [item["metadata"]["name"] for item in server.client.get(SERVICES).value["items"]]
        assert names == ["meanwhile", "web"]
        event, = server.client.watch(f"{SERVICES}?watch=true&resourceVersion={newest}").all()
        assert event["object"]["code"] == 410
        newest = server.store.version


def test_nobody_else_gets_the_port_while_the_server_is_away(server):
    server.kill()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((server.address, server.port))
    server.restart()
    assert server.client.get(SERVICES).code == 200


def test_what_is_small_is_sent_at_once(server):
    stream = watch(server)
    accepted, = (connection.socket for connection in server._connections.values())
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    stream.close()
