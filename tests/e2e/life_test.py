# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping, starting again."""

import json
import pathlib
import signal
import time

from load import Wrk, ask_udp, curl_many, url
from testbed import Testbed, web
from topology import VIP_V4, VIP_V6, Topology


def machine(namespace):
    """What a gateway could leave in its namespace; the twins stay by design and are not in it."""
    tables = namespace.run("nft", "list", "ruleset").stdout
    links = [(link["ifname"], "UP" in link["flags"], link["promiscuity"], link.get("xdp"))
             for link in json.loads(namespace.ip("-d", "-j", "link").stdout)
             if link["ifname"] not in ("wan0", "lan0")]
    switches = [namespace.run("sysctl", "-n", f"net.ipv6.conf.{device}.disable_ipv6").stdout
                for device in ("wan", "lan")]
    rules = namespace.ip("rule").stdout
    return tables, links, switches, rules


def dpdk_files():
    """DPDK's runtime files; hugepages are not used here."""
    return {str(path) for root in ("/var/run/dpdk", "/dev/hugepages")
            for path in pathlib.Path(root).glob("*sluice*")}


def test_sigterm_leaves_nothing_behind(lab, driver):
    topology = Topology(lab, driver)
    before, files = machine(topology.gateway_host), dpdk_files()
    topology.start_gateway().stop()
    assert machine(topology.gateway_host) == before
    assert dpdk_files() <= files
    assert topology.gateway_host.pids() == []


def test_sigint_is_a_clean_end_too(lab, driver):
    gateway = Topology(lab, driver).start_gateway()
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(timeout=20) == 0
    assert not gateway.socket.exists()


def test_sigterm_under_load_ends_within_seconds(lab, driver):
    testbed = Testbed(lab, driver)
    load = Wrk(testbed.client, url(VIP_V4), seconds=3)
    time.sleep(1)
    testbed.gateway.stop(seconds=10)
    load.process.terminate()
    load.process.communicate()


def test_addresses_and_routes_survive_a_restart_and_it_serves_again(lab, driver):
    testbed = Testbed(lab, driver)

    def twins():
        host = testbed.host
        return [host.ip("-br", "addr", "show", "dev", twin).stdout.split()[2:]
                for twin in ("wan0", "lan0")] + [
                    host.ip("route", "show", "dev", "wan0").stdout.count("\n"), macs(host)]

    def macs(host):
        return [host.ip("-br", "link", "show", "dev", twin).stdout.split()[2]
                for twin in ("wan0", "lan0")]

    before = twins()
    testbed.gateway.stop()
    # Nothing is configured again: the addresses are still on the twins.
    testbed.gateway.start()
    testbed.gateway.apply(web())
    assert twins() == before
    for vip in (VIP_V4, VIP_V6):
        assert sum(curl_many(testbed.client, url(vip), 20).values()) == 20
        assert ask_udp(testbed.client, vip)[3] == b"hello"
    testbed.gateway.stop()


def test_a_killed_gateway_can_be_started_again(lab, driver):
    testbed = Testbed(lab, driver)
    testbed.gateway.kill()
    testbed.gateway.start()
    testbed.gateway.apply(web())
    assert sum(curl_many(testbed.client, url(VIP_V4), 10).values()) == 10
    testbed.gateway.stop()
