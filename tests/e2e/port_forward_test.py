# SPDX-License-Identifier: Apache-2.0
"""port-forward: local connections to backends, through the API."""

import contextlib
import hashlib
import os
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

from gateway import SLUICECTL, service
from nginx import LARGE_BYTES
from testbed import Testbed, both_families, web
from topology import BACKENDS, CLIENT_V4, SNAT_V4

HOST_V4 = "192.0.2.1"


class Forwarding:
    """sluicectl port-forward in the gateway's namespace, and what it has printed."""

    def __init__(self, testbed, *words):
        self.process = testbed.host.spawn(SLUICECTL, "port-forward", *words, env=testbed.gateway.environment(),
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._rest = b""

    def lines(self, count, seconds=5):
        deadline = time.monotonic() + seconds
        while self._rest.count(b"\n") < count and time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                self._rest += os.read(self.process.stdout.fileno(), 65536)
        *read, self._rest = self._rest.split(b"\n", count)
        return [line.decode() for line in read]


@contextlib.contextmanager
def forwarding(testbed, *words):
    made = Forwarding(testbed, *words)
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait()
        made.process.stdout.close()
        made.process.stderr.close()


def connect(namespace, address, port):
    connection = namespace.socket(socket.SOCK_STREAM, address)
    connection.settimeout(10)
    connection.connect((address, port))
    return connection


def receive_all(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_what_is_printed_is_kubectls(testbed):
    testbed.gateway.apply(service("clustered", ["203.0.113.50"], [("http", "TCP", 9000, 80)],
                                  both_families(BACKENDS)))
    with forwarding(testbed, "service/clustered", "8001:9000") as forward:
        assert forward.lines(2) == ["Forwarding from 127.0.0.1:8001 -> 80", "Forwarding from [::1]:8001 -> 80"]
        for address in ("127.0.0.1", "[::1]"):
            shown = testbed.host.run("curl", "-sf", "--max-time", "5", f"http://{address}:8001/").stdout
            assert shown.startswith("backend")
            assert forward.lines(1) == ["Handling connection for 8001"]


@pytest.mark.parametrize("words", [["service", "web", "8002:80"], ["svc/web", "8002:http"],
                                   ["services/web", "8002:80"]])
def test_the_service_and_its_port_are_named_as_for_kubectl(testbed, words):
    with forwarding(testbed, *words) as forward:
        assert forward.lines(1) == ["Forwarding from 127.0.0.1:8002 -> 80"]


def test_a_local_port_that_is_left_open_is_one_that_is_free(testbed):
    with forwarding(testbed, "svc/web", ":80") as forward:
        first, second = forward.lines(2)
        port = int(first.split()[2].rsplit(":", 1)[1])
        assert second == f"Forwarding from [::1]:{port} -> 80"
        assert testbed.host.run("curl", "-sf", f"http://127.0.0.1:{port}/").stdout.startswith("backend")


def test_other_hosts_reach_the_addresses_that_are_given(testbed):
    with forwarding(testbed, "svc/web", "8003:80", "8004:7", "--address", f"127.0.0.1,{HOST_V4}") as forward:
        assert forward.lines(4) == [f"Forwarding from {address}:{local} -> {target}"
                                    for local, target in ((8003, 80), (8004, 7))
                                    for address in ("127.0.0.1", HOST_V4)]
        shown = testbed.client.run("curl", "-sf", "--max-time", "5", f"http://{HOST_V4}:8003/").stdout
        assert shown.startswith("backend")
        connection = connect(testbed.client, HOST_V4, 8004)
        connection.sendall(b"hello")
        assert b"hello" in connection.recv(100)
        connection.close()


@contextlib.contextmanager
def listening(testbed, name, vip):
    """A server of the test's own on a backend, and the service before it."""
    with testbed.backends[1].socket(socket.SOCK_STREAM, "10.10.0.11") as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("10.10.0.11", 9999))
        server.listen()
        server.settimeout(10)
        testbed.gateway.apply(service(name, [vip], [("", "TCP", 9999, 9999)], ["10.10.0.11"]))
        yield server


def test_a_side_that_has_said_all_still_hears_the_other(testbed):
    answer = os.urandom(LARGE_BYTES)
    asked = []

    def serve(server):
        connection, _ = server.accept()
        asked.append(receive_all(connection))
        connection.sendall(answer)
        connection.close()

    with listening(testbed, "late", "203.0.113.54") as server, \
            forwarding(testbed, "svc/late", "8005:9999") as forward:
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        forward.lines(2)
        connection = connect(testbed.host, "127.0.0.1", 8005)
        connection.sendall(b"all I have to say")
        connection.shutdown(socket.SHUT_WR)
        heard = receive_all(connection)
        connection.close()
        thread.join()
    assert asked == [b"all I have to say"]
    assert hashlib.sha256(heard).digest() == hashlib.sha256(answer).digest()


def test_many_at_once_are_kept_apart(testbed):
    with forwarding(testbed, "svc/web", "8006:7") as forward:
        forward.lines(2)
        connections = [connect(testbed.host, "127.0.0.1", 8006) for _ in range(50)]
        for number, connection in enumerate(connections):
            connection.sendall(b"number %d" % number)
        for number, connection in enumerate(connections):
            assert connection.recv(200).endswith(b" number %d" % number)
            connection.close()


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_a_reader_that_stands_still_holds_the_sender_back(testbed):
    """Or the gateway would take all of it into its memory."""
    with listening(testbed, "sink", "203.0.113.51") as server, \
            forwarding(testbed, "svc/sink", "8007:9999") as forward:
        forward.lines(2)
        source = connect(testbed.host, "127.0.0.1", 8007)
        accepted, _ = server.accept()
        before = resident_kib(testbed.gateway.process.pid)
        source.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 256 << 20:
                sent += source.send(b"x" * 65536)
        assert sent < 64 << 20, "it took all that was given"
        assert resident_kib(testbed.gateway.process.pid) - before < 64 << 10
        received = [0]

        def drain():
            while part := accepted.recv(1 << 20):
                received[0] += len(part)

        reader = threading.Thread(target=drain)
        reader.start()
        source.close()
        reader.join(timeout=30)
        assert received[0] == sent, "and what was held back comes in the end"
        accepted.close()


def test_a_backend_that_refuses_breaks_the_connection_and_says_why(testbed):
    testbed.gateway.apply(service("closed", ["203.0.113.52"], [("", "TCP", 80, 4444)], ["10.10.0.11"]))
    with forwarding(testbed, "svc/closed", "8008:80") as forward:
        forward.lines(2)
        connection = connect(testbed.host, "127.0.0.1", 8008)
        with pytest.raises(ConnectionResetError):
            connection.sendall(b"hello")
            if connection.recv(10) == b"":
                raise AssertionError("a clean end is no refusal")
        connection.close()
        assert "10.10.0.11:4444" in forward.process.stderr.readline().decode()


@pytest.mark.parametrize("words, code, why", [
    (["svc/nobody", "80"], 1, "no service"), (["svc/web", "81"], 1, "no port '81'"),
    (["svc/web", "echo-udp"], 1, "only TCP"), (["svc/idle", "8010:80"], 1, "no endpoint"),
    (["pod/web", "80"], 2, "name a service"), (["svc/web"], 2, "which port"),
    (["svc/web", "8011:80", "--address", "nowhere"], 2, "is not an address"),
    (["svc/web", "0:80"], 1, "not a local port")])
def test_what_cannot_be_forwarded_is_refused_with_the_reason(testbed, words, code, why):
    idle = service("idle", ["203.0.113.53"], [("", "TCP", 80, 80)], [])
    udp = web()
    udp["spec"]["ports"] = [{"name": "echo-udp", "protocol": "UDP", "port": 53, "targetPort": 7}]
    if "echo-udp" in words:
        testbed.gateway.apply(udp)
    testbed.gateway.apply(idle)
    refused = testbed.gateway.ctl("port-forward", *words, check=False, timeout=10)
    assert refused.returncode == code, refused.stdout + refused.stderr
    assert why in refused.stderr


def test_an_idle_connection_of_a_client_that_was_killed_is_not_kept(testbed):
    with listening(testbed, "idle-end", "203.0.113.55") as server, \
            forwarding(testbed, "svc/idle-end", "8013:9999") as forward:
        forward.lines(2)
        connection = connect(testbed.host, "127.0.0.1", 8013)
        connection.sendall(b"all")
        connection.shutdown(socket.SHUT_WR)
        accepted, _ = server.accept()
        accepted.settimeout(5)
        assert receive_all(accepted) == b"all"
        forward.process.kill()
        accepted.sendall(b"x")  # the gateway's side is closed in a moment: a reset answers
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(50):
                time.sleep(0.1)
                accepted.sendall(b"x")
        accepted.close()
        connection.close()


def test_an_upload_that_breaks_off_is_no_whole_one_for_the_backend(testbed):
    with listening(testbed, "upload", "203.0.113.56") as server, \
            forwarding(testbed, "svc/upload", "8016:9999") as forward:
        forward.lines(2)
        connection = connect(testbed.host, "127.0.0.1", 8016)
        connection.sendall(b"half of it")
        accepted, _ = server.accept()
        accepted.settimeout(5)
        assert accepted.recv(100) == b"half of it"
        forward.process.kill()
        with pytest.raises(ConnectionResetError):
            assert accepted.recv(100) != b"", "a clean end"
        accepted.close()
        connection.close()


def test_an_answer_that_breaks_off_is_no_whole_one_for_the_client(testbed):
    with listening(testbed, "download", "203.0.113.57") as server, \
            forwarding(testbed, "svc/download", "8017:9999") as forward:
        forward.lines(2)
        connection = connect(testbed.host, "127.0.0.1", 8017)
        accepted, _ = server.accept()
        accepted.sendall(b"half of it")
        assert connection.recv(100) == b"half of it"
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        with pytest.raises(ConnectionResetError):
            assert connection.recv(100) != b"", "a clean end"
        connection.close()


def test_the_gateway_stops_at_once_with_connections_open(driver, lab):
    testbed = Testbed(lab, driver)
    with listening(testbed, "open", "203.0.113.55") as server, \
            forwarding(testbed, "svc/open", "8014:9999") as forward:
        forward.lines(2)
        reading = connect(testbed.host, "127.0.0.1", 8014)
        reading.shutdown(socket.SHUT_WR)
        idle, _ = server.accept()
        writing = connect(testbed.host, "127.0.0.1", 8014)
        stuck, _ = server.accept()
        writing.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                writing.send(b"x" * 65536)
        testbed.gateway.stop(seconds=10)
        for connection in (reading, writing, stuck, idle):
            connection.close()


def test_so_many_at_once_and_no_more(testbed):
    with forwarding(testbed, "svc/web", "8015:7") as forward:
        forward.lines(2)
        held = [connect(testbed.host, "127.0.0.1", 8015) for _ in range(100)]
        for connection in held:
            connection.sendall(b"hello")
            assert b"hello" in connection.recv(100)
        late = connect(testbed.host, "127.0.0.1", 8015)
        with pytest.raises(ConnectionResetError):
            late.sendall(b"hello")
            if late.recv(10) == b"":
                raise AssertionError("a clean end is no refusal")
        assert "100 connections" in forward.process.stderr.readline().decode()
        for connection in [*held, late]:
            connection.close()


def test_a_flow_of_its_own_reaches_the_host_like_any_client(testbed):
    """The gateway's host makes the connection, so backends see an address of the host."""
    with forwarding(testbed, "svc/web", "8012:80") as forward:
        forward.lines(2)
        shown = testbed.host.run("curl", "-si", "--max-time", "5", "http://127.0.0.1:8012/").stdout
        assert "X-Client-Address: 10.10.0.1" in shown or "X-Client-Address: 2001:db8:10::1" in shown
        assert CLIENT_V4 not in shown


def test_through_the_vip_it_takes_the_way_of_the_services_clients(testbed):
    """Through the lcores: a flow of theirs, so backends see the gateway's SNAT address."""
    with forwarding(testbed, "svc/web", "8016:80", "--through-vip") as forward:
        forward.lines(2)
        connection = connect(testbed.host, "127.0.0.1", 8016)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        assert f"X-Client-Address: {SNAT_V4}" in connection.recv(65536).decode()
        flows = testbed.gateway.get("get", "flows", "--service", "web").get("flows", [])
        assert any(flow["frontend"] == "203.0.113.10:80" and flow["client"].startswith(HOST_V4) for flow in flows)
        connection.close()


def test_a_service_without_a_vip_is_not_reached_through_one(testbed):
    inside = web(name="inside", vips=())
    inside["spec"]["type"] = "ClusterIP"
    testbed.gateway.apply(inside)
    with forwarding(testbed, "svc/inside", "8017:80", "--through-vip") as forward:
        forward.lines(2)
        late = connect(testbed.host, "127.0.0.1", 8017)
        with pytest.raises(ConnectionResetError):
            late.recv(10)
            raise AssertionError("a clean end is no refusal")
        assert "has no VIP" in forward.process.stderr.readline().decode()
        late.close()
