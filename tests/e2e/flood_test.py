# SPDX-License-Identifier: Apache-2.0
"""A flood of handshakes that never complete, and the connections it must not harm."""

import resource
import socket
import struct
import time

import pytest

from testbed import Testbed, web
from topology import VIP_V4

CONNECTIONS = 1_000
FLOOD = 40_000
# Segments that the flood drowned come again after 0.2, 0.4, 0.8 s and so on; on a busy machine the
# gateway may work at the flood for seconds.
PATIENCE = 60  # seconds
SPOOFED = "198.18.0.0"  # routed to the client, which neither has nor forwards it


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def syn(to_mac, number):
    """A SYN to the VIP from one of many addresses that answer nothing."""
    source = socket.inet_aton(f"198.18.{number // 250 % 250}.{1 + number % 250}")
    target = socket.inet_aton(VIP_V4)
    tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60_000, 7, number, 0, 0x50, 2, 64_240, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, number & 0xFFFF, 0, 64, 6, 0, source, target)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return to_mac + b"\x02\x00\x00\x00\x99\x01" + b"\x08\x00" + ip + tcp


@pytest.fixture
def small(lab, driver):
    """A gateway with room for 4,000 flows, a tenth of them half-open."""
    testbed = Testbed(lab, driver)
    testbed.gateway.finish()
    testbed.gateway.config["dataplane"] |= {"flows_ipv4": 4_000, "half_open_percent": 10}
    testbed.topology.start_gateway()
    testbed.host.ip("route", "add", f"{SPOOFED}/16", "via", "192.0.2.2", "dev", "wan0")
    testbed.gateway.apply(web())
    yield testbed
    # Not finish(): half-open flows are evicted before their replies come, and the flood may be more
    # than one lcore can hand to another.
    testbed.gateway.stop()


def test_a_flood_of_half_open_flows_breaks_none_of_1000_established_connections(small):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
    connections = []
    try:
        for _ in range(CONNECTIONS):
            connection = small.client.socket(socket.SOCK_STREAM, VIP_V4)
            connections.append(connection)
            connection.settimeout(PATIENCE)
            connection.connect((VIP_V4, 7))
            connection.send(b"before")
            assert connection.recv(2048)
        port = next(p for p in small.gateway.get("get", "ports")["ports"] if p["name"] == "wan0")
        mac = bytes.fromhex(port["mac"].replace(":", ""))
        frames = [syn(mac, number) for number in range(FLOOD)]
        begun = time.monotonic()
        with small.client.frames("wan") as wire:
            for frame in frames:
                wire.send(frame)
        print(f"{FLOOD / (time.monotonic() - begun):.0f} SYNs a second")
        for connection in connections:
            connection.send(b"after")
            assert connection.recv(2048).endswith(b"after")
        with small.client.socket(socket.SOCK_STREAM, VIP_V4) as fresh:
            fresh.settimeout(PATIENCE)
            fresh.connect((VIP_V4, 7))
            fresh.send(b"new")
            assert fresh.recv(2048).endswith(b"new")
        lcores = small.gateway.get("status")["lcores"]
        assert sum(int(lcore["halfOpenEvicted"]) for lcore in lcores) > 100
        assert all(int(lcore["halfOpen"]) <= 400 for lcore in lcores)
        assert "EVICTED" in small.gateway.ctl("status").stdout
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
