# SPDX-License-Identifier: Apache-2.0
"""Clients: wrk under load, curl one request at a time, sockets for datagrams."""

import collections
import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile

from namespaces import CommandFailed, run

CHURN = pathlib.Path(__file__).with_name("churn.lua")
# No connection is kept: each request is on one of its own.
CURL = ("curl", "-sS", "--globoff", "--max-time", "5", "-H", "Connection: close")


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def url(address, port=80, path="/"):
    return f"http://{bracketed(address)}:{port}{path}"


class Wrk:
    """wrk running in a namespace; every 20th request opens a new connection. `seconds`: how long, at
    the most where it is stopped. `pause_ms`: before each request of a connection, of a load that goes
    on for long while others want the CPU. Ends with its `with` block, if there is one."""

    def __init__(self, namespace, target, seconds, connections=16, pause_ms=0):
        self.seconds = seconds
        script = CHURN
        if pause_ms:
            self._paced = tempfile.NamedTemporaryFile("w", suffix=".lua")  # there as long as this is
            self._paced.write(f"{CHURN.read_text()}\nfunction delay() return {pause_ms} end\n")
            self._paced.flush()
            script = self._paced.name
        self.process = namespace.spawn(
            "wrk", "--threads", "1", "--connections", connections, "--duration", f"{seconds}s",
            "--timeout", "5s", "--script", script, target,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def finish(self):
        """The result: requests made, and errors by kind (connect, read, write, status, timeout)."""
        output, _ = self.process.communicate(timeout=self.seconds + 30)
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if self.process.returncode != 0 or not lines:
            raise CommandFailed(f"wrk: exit {self.process.returncode}\n{output}")
        return json.loads(lines[-1])

    def stop(self):
        """Ends it, which has to be running still: what it was to be there for has happened. The result."""
        if self.process.poll() is not None:
            raise CommandFailed(f"wrk was over, after {self.seconds} s, before it was to end")
        self.process.send_signal(signal.SIGINT)
        return self.finish()


def failures(result):
    return {kind: result[kind] for kind in ("connect", "read", "write", "status", "timeout")
            if result[kind] != 0}


def curl_many(namespace, target, count):
    """`count` requests, each on a connection of its own; who answered how often."""
    done = namespace.run(*CURL, *[target] * count, timeout=120)
    return collections.Counter(done.stdout.split())


def curl_headers(namespace, target):
    """Body and headers (lower case names) of one request."""
    done = namespace.run("curl", "-sSi", "--max-time", "5", target)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    headers = dict(re.findall(r"^([\w-]+): (.*)$", head, re.MULTILINE))
    return body.strip(), {name.lower(): value for name, value in headers.items()}


def ask(namespace, kind, address, port, text=b"hello", seconds=3, source=None):
    """One datagram or one TCP line to an echo server and its answer: (name, peer address, peer
    port, text). Never sends again: no answer in time is an OSError."""
    with namespace.socket(kind, address) as client:
        client.settimeout(seconds)
        if source is not None:
            client.bind(source)
        client.connect((address, port))
        client.send(text)
        name, peer, peer_port, rest = client.recv(65536).split(b" ", 3)
        return name.decode(), peer.decode(), int(peer_port), rest


def ask_udp(namespace, address, port=7, **options):
    return ask(namespace, socket.SOCK_DGRAM, address, port, **options)


def ask_tcp(namespace, address, port=7, **options):
    return ask(namespace, socket.SOCK_STREAM, address, port, **options)


def can_ping(namespace, address, count=1):
    done = run(namespace.argv("ping", "-n", "-c", count, "-i", "0.2", "-W", "2", address),
               check=False)
    return done.returncode == 0

