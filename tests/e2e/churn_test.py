# SPDX-License-Identifier: Apache-2.0
"""Connections that come and go faster than what is kept of them: more of them than a table has
entries, or an endpoint SNAT ports."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import LCORES
from namespaces import wait_until
from testbed import Testbed, web
from topology import VIP_V4

ENTRIES = 2_000
PORTS = 128 * LCORES


@pytest.fixture
def start(lab, driver):
    """Starts a gateway with other settings: start(change), which gets its configuration."""
    started = []

    def restarted(change):
        testbed = Testbed(lab, driver)
        started.append(testbed)
        testbed.gateway.finish()
        change(testbed.gateway.config)
        testbed.topology.start_gateway()
        testbed.gateway.apply(web(numbers=[1]))
        return testbed

    yield restarted
    for testbed in started:
        testbed.gateway.finish()


def exchange(testbed):
    """One connection from its SYN to the FINs of both sides."""
    with testbed.client.socket(socket.SOCK_STREAM, VIP_V4) as connection:
        connection.settimeout(10)
        connection.connect((VIP_V4, 7))
        connection.send(b"text")
        assert connection.recv(2048).endswith(b"text")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(2048) == b""


def exchange_many(testbed, connections):
    """So many, eight at a time, and no more than a thousand a second: an entry rests for one before
    it is another's."""
    with ThreadPoolExecutor(8) as pool:
        for begun in range(0, connections, 100):
            next_at = time.monotonic() + 0.1
            some = min(100, connections - begun)
            for done in [pool.submit(exchange, testbed) for _ in range(some)]:
                done.result()
            time.sleep(max(0, next_at - time.monotonic()))


def total(testbed, count):
    return sum(int(lcore.get(count, 0)) for lcore in testbed.gateway.get("status")["lcores"])


def told(testbed, reason):
    def events():
        return testbed.gateway.get("get", "events").get("events", [])

    wait_until(lambda: any(event["reason"] == reason for event in events()), 5, f"event {reason}")


def test_more_connections_than_a_table_has_entries_come_and_go_without_one_refused(start):
    testbed = start(lambda config: config["dataplane"].update(flows_ipv4=ENTRIES))
    with testbed.client.socket(socket.SOCK_STREAM, VIP_V4) as standing:
        standing.settimeout(10)
        standing.connect((VIP_V4, 7))
        exchange_many(testbed, 2 * ENTRIES * LCORES)
        standing.send(b"still")
        assert standing.recv(2048).endswith(b"still")
    assert testbed.gateway.drops()["flow_table_full"] == 0
    assert total(testbed, "endedEvicted") >= ENTRIES / 2
    told(testbed, "FlowTableNearlyFull")


def test_more_connections_than_an_endpoint_has_snat_ports_use_those_of_closed_ones_again(start):
    def few_ports(config):
        for snat in config["snat"]:
            snat["port_range"] = f"20000-{20000 + PORTS - 1}"

    testbed = start(few_ports)
    exchange_many(testbed, PORTS)
    assert total(testbed, "snatQuarantineBroken") == 0 or LCORES > 1
    exchange_many(testbed, PORTS)
    assert total(testbed, "snatQuarantineBroken") >= PORTS / 2
    told(testbed, "SnatPortsShort")
