# SPDX-License-Identifier: Apache-2.0
"""Backends come and go under load."""

import socket
import time

import pytest

from load import Wrk, curl_many, failures, url
from testbed import web
from topology import VIP_V4, VIP_V6, backend_v4, backend_v6

FAMILIES = pytest.mark.parametrize("vip, backend", [(VIP_V4, backend_v4), (VIP_V6, backend_v6)],
                                   ids=["ipv4", "ipv6"])
DRAINING = {"conditions": {"ready": False, "serving": True, "terminating": True}}


@FAMILIES
def test_draining_removing_and_adding_backends_loses_no_request(testbed, vip, backend):
    load = Wrk(testbed.client, url(vip), seconds=8)
    time.sleep(1)
    testbed.gateway.apply(web(fields={1: DRAINING}))
    time.sleep(2)  # by then wrk has closed every connection of before many times over
    testbed.gateway.apply(web(numbers=[2, 3]))
    time.sleep(1)
    testbed.gateway.apply(web(numbers=[2, 3, 1]))
    time.sleep(0.5)
    answers = curl_many(testbed.client, url(vip), 60)
    result = load.finish()
    assert failures(result) == {}
    assert result["requests"] > 1000
    assert answers["backend1"] > 0


@FAMILIES
def test_a_draining_backend_gets_no_new_flow_and_keeps_its_old_ones(testbed, vip, backend):
    testbed.gateway.apply(web(numbers=[1]))
    with testbed.client.socket(socket.SOCK_STREAM, vip) as kept:
        kept.settimeout(3)
        kept.connect((vip, 7))
        testbed.gateway.apply(web(fields={1: DRAINING}))
        answers = curl_many(testbed.client, url(vip), 60)
        assert set(answers) == {"backend2", "backend3"}
        for number in range(10):
            kept.send(b"%d" % number)
            assert kept.recv(2048).startswith(b"backend1 ")
    assert testbed.backend_rows()[backend(1)]["state"] == "draining"


class KeptConnections:
    """HTTP connections that stay open, one request at a time on each. An answer tells who serves a
    connection, so that one that breaks can be laid at its backend's door."""

    def __init__(self, namespace, vip, count):
        self.served_by = {}
        for _ in range(count):
            connection = namespace.socket(socket.SOCK_STREAM, vip)
            connection.settimeout(3)
            connection.connect((vip, 7))
            self.served_by[connection] = self._request(connection)

    @staticmethod
    def _request(connection):
        connection.send(b"hello")
        return connection.recv(2048).split(b" ")[0].decode()

    def broken(self):
        """Names of the backends whose connections no longer answer as before."""
        found = set()
        for connection, name in self.served_by.items():
            try:
                if self._request(connection) != name:
                    found.add(name)
            except OSError:
                found.add(name)
        return found

    def close(self):
        for connection in self.served_by:
            connection.close()


@FAMILIES
def test_removing_a_backend_at_once_disturbs_no_flow_of_the_others(testbed, vip, backend):
    kept = KeptConnections(testbed.client, vip, 60)
    assert set(kept.served_by.values()) == {"backend1", "backend2", "backend3"}
    testbed.gateway.apply(web(numbers=[2, 3]))
    for connection, name in kept.served_by.items():
        if name == "backend1":
            connection.settimeout(0.02)  # these may well be silent
    assert kept.broken() <= {"backend1"}
    testbed.gateway.apply(web())
    kept.close()
    fresh = KeptConnections(testbed.client, vip, 30)
    assert fresh.broken() == set()
    fresh.close()


def test_a_service_deleted_and_applied_again_serves_again(testbed):
    testbed.gateway.ctl("delete service web")
    done = testbed.client.run("curl", "-s", "--max-time", "1", url(VIP_V4), check=False)
    assert done.returncode != 0
    testbed.gateway.apply(web())
    assert sum(curl_many(testbed.client, url(VIP_V4), 20).values()) == 20
