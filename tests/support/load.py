# SPDX-License-Identifier: Apache-2.0
"""Clients: wrk under load, curl one request at a time, sockets for datagrams."""

import collections
import json
import pathlib
import re
import socket
import subprocess

from namespaces import CommandFailed, run

CHURN = pathlib.Path(__file__).with_name("churn.lua")


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def url(address, port=80, path="/"):
    return f"http://{bracketed(address)}:{port}{path}"


class Wrk:
    """wrk running in a namespace; every 20th request opens a new connection."""

    def __init__(self, namespace, target, seconds, connections=16):
        self.seconds = seconds
        self.process = namespace.spawn(
            "wrk", "--threads", "1", "--connections", connections, "--duration", f"{seconds}s",
            "--timeout", "5s", "--script", CHURN, target,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self):
        """The result: requests made, and errors by kind (connect, read, write, status, timeout)."""
        output, _ = self.process.communicate(timeout=self.seconds + 30)
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if self.process.returncode != 0 or not lines:
            raise CommandFailed(f"wrk: exit {self.process.returncode}\n{output}")
        return json.loads(lines[-1])


def failures(result):
    return {kind: result[kind] for kind in ("connect", "read", "write", "status", "timeout")
            if result[kind] != 0}


def curl_many(namespace, target, count):
    """`count` requests, each on a connection of its own; who answered how often."""
    done = namespace.run("curl", "-sS", "--globoff", "--max-time", "5", "-H", "Connection: close",
                         *[target] * count, timeout=120)
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

