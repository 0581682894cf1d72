# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping, starting again."""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import time

import pytest

from gateway import LCORES
from load import Wrk, ask_udp, curl_many, url
from namespaces import wait_until
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


def dpdk_files(pid):
    """DPDK's runtime files of one sluiced; hugepages are not used here."""
    return [path for root, name in (("/var/run/dpdk", f"sluice-{pid}"), ("/dev/hugepages", f"sluice-{pid}map*"))
            for path in pathlib.Path(root).glob(name)]


def test_sigterm_leaves_nothing_behind(lab, driver):
    topology = Topology(lab, driver)
    before = machine(topology.gateway_host)
    gateway = topology.start_gateway()
    pid = gateway.process.pid
    assert dpdk_files(pid)
    gateway.stop()
    assert machine(topology.gateway_host) == before
    assert dpdk_files(pid) == []
    assert topology.gateway_host.pids() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["sigint", "sighup"])
def test_other_signals_are_a_clean_end_too(lab, driver, number):
    gateway = Topology(lab, driver).start_gateway()
    gateway.process.send_signal(number)
    assert gateway.process.wait(timeout=20) == 0
    assert not gateway.socket.exists()


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 17, 0x4206, 0x4207, 0x40000000


@contextlib.contextmanager
def stopped_lcore(process):
    """Only the forwarding thread stands still, as under a hypervisor that has taken its CPU away."""
    thread = next(int(task.name) for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()
                  if (task / "comm").read_text().startswith("rte-worker"))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        assert libc.ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, thread, None, None)


def yield_cpus(process):
    """Lcores that never sleep, one on each CPU, can keep others waiting for a CPU for tens of
    seconds: a process yields to those outside of its session, where the kernel groups by these."""
    group = pathlib.Path(f"/proc/{process.pid}/autogroup")
    if group.exists():
        group.write_text("10")


def test_an_lcore_that_stands_still_is_reported_and_holds_up_nobody_else(lab, driver):
    topology = Topology(lab, driver)
    del topology.gateway.config["dataplane"]["idle_sleep"]  # asleep it would hold nothing
    del topology.gateway.config["dataplane"]["idle_wait"]
    gateway = topology.start_gateway()
    yield_cpus(gateway.process)
    gateway.apply(web())
    with stopped_lcore(gateway.process):
        late = gateway.apply(web(numbers=[1]), options=["--timeout", "2s"], check=False)
        assert late.returncode == 4
        assert "committed, lcore " in late.stderr and "not confirmed" in late.stderr
        wanted = {1} if LCORES == 1 else {0, 1}
        told = {}  # by exit code; whose a flow is depends on a key that is another at each start
        # The hash is linear: a bit of the port that changes the owner does so in every port. Of
        # neighbouring ports only the low bits differ, and once in 2^5 starts none of these does.
        for port in [4000 ^ 1 << bit for bit in range(16)]:
            done = gateway.ctl(f"explain --from 192.0.2.2:{port} --to 203.0.113.10:80", check=False)
            told[done.returncode] = done
            if set(told) >= wanted:
                break
        assert set(told) == wanted
        assert "lcore did not answer" in told[1].stderr
        assert gateway.ctl("get flows", check=False).returncode == 1
        assert gateway.ctl("status").stdout.count("STALLED") == 1
    wait_until(lambda: "STALLED" not in gateway.ctl("status").stdout, 5, "the lcore going on")
    assert "stands still" in gateway.log() and "goes on" in gateway.log()
    assert "revision 2" in gateway.apply(web(numbers=[1])).stdout


def test_sigterm_under_load_ends_within_seconds(lab, driver):
    testbed = Testbed(lab, driver)
    load = Wrk(testbed.client, url(VIP_V4), seconds=3)
    time.sleep(1)
    testbed.gateway.finish(seconds=10)
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
    testbed.gateway.finish()
    # Nothing is configured again: the addresses are still on the twins.
    testbed.gateway.start()
    testbed.gateway.apply(web())
    assert twins() == before
    for vip in (VIP_V4, VIP_V6):
        assert sum(curl_many(testbed.client, url(vip), 20).values()) == 20
        assert ask_udp(testbed.client, vip)[3] == b"hello"
    testbed.gateway.finish()


def test_a_killed_gateway_can_be_started_again(lab, driver):
    testbed = Testbed(lab, driver)
    testbed.gateway.kill()
    testbed.gateway.start()
    testbed.gateway.apply(web())
    assert sum(curl_many(testbed.client, url(VIP_V4), 10).values()) == 10
    testbed.gateway.finish()
