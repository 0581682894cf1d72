# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to its clients and its socket, the gateway forwards every request."""

import contextlib
import os
import random
import socket
import subprocess
import time

import pytest
import yaml

from gateway import SLUICECTL, service
from load import Wrk, curl_many, failures, url
from paths import BUILD
from testbed import both_families, web
from topology import VIP_V4, VIP_V6

APPLY_LOAD = BUILD / "tests" / "support" / "apply_load"


@contextlib.contextmanager
def no_request_lost(testbed, seconds):
    """wrk runs beside the block; not one of its requests may fail."""
    load = Wrk(testbed.client, url(VIP_V4), seconds=seconds)
    time.sleep(0.5)
    yield
    result = load.finish()
    assert failures(result) == {}
    assert result["requests"] > 100 * seconds


def many_services(count):
    return [service(f"filler-{number}", [f"203.0.113.{100 + number % 100}"],
                    [("p", "TCP", 1000 + number // 100, 80)], both_families([1, 2, 3]))
            for number in range(count)]


def revision(testbed, provider):
    return next((int(found.get("revision", 0))
                 for found in testbed.gateway.get("get", "providers")["providers"]
                 if found["name"] == provider), 0)


def test_killing_sluicectl_in_the_middle_of_applying_loses_nothing(testbed, tmp_path):
    many, one = tmp_path / "many.yaml", tmp_path / "one.yaml"
    many.write_text(yaml.safe_dump_all([web(), *many_services(500)]))
    one.write_text(yaml.safe_dump_all([web()]))
    chance = random.Random(20260101)
    # So that some are killed before they are done and some after, however fast the machine is.
    begun = time.monotonic()
    testbed.gateway.ctl("apply", "--replace", "-f", str(many))
    done = time.monotonic() - begun
    before = revision(testbed, "cli")
    with no_request_lost(testbed, 10):
        deadline = time.monotonic() + max(7, 15 * done)
        turn = 0
        while time.monotonic() < deadline:
            turn += 1
            process = subprocess.Popen([SLUICECTL, "apply", "--replace", "-f",
                                        many if turn % 2 else one],
                                       env=testbed.gateway.environment(),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.005, 2 * done))
            process.kill()
            process.wait()
    # A transaction took effect as a whole, or not at all.
    count = len(testbed.gateway.get("get", "services")["services"])
    assert count in (1, 501)
    assert revision(testbed, "cli") > before + 1, "each was killed before it had said anything"
    testbed.gateway.apply(web(), options=["--replace"])
    assert len(testbed.gateway.get("get", "services")["services"]) == 1


def garbage(chance):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    shapes = [lambda: chance.randbytes(chance.randrange(1, 65536)),
              lambda: preface + chance.randbytes(chance.randrange(1, 4096)),
              lambda: preface + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" * 100,
              lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
              lambda: b""]
    return chance.choice(shapes)()


def test_a_flood_of_garbage_on_the_socket_loses_nothing(testbed):
    chance = random.Random(20260102)
    held = []
    with no_request_lost(testbed, 10):
        deadline = time.monotonic() + 7
        while time.monotonic() < deadline:
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(0.05)
            with contextlib.suppress(OSError):
                peer.connect(str(testbed.gateway.socket))
                peer.sendall(garbage(chance))
            held.append(peer)
            if len(held) > 200:
                held.pop(chance.randrange(len(held))).close()
        testbed.gateway.ctl("status", timeout=20)
    for peer in held:
        peer.close()
    testbed.gateway.ctl("status")


def test_silent_connections_do_not_keep_others_out_for_long(testbed):
    """More than the gateway takes at once, none of which ever says a word."""
    silent = []
    for _ in range(400):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(testbed.gateway.socket))
        silent.append(peer)
    testbed.gateway.ctl("--timeout 20s status")
    for peer in silent:
        peer.close()


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_transactions_a_second_lose_nothing(testbed):
    """Each changes the weights of a service on a VIP beside the loaded one, and all are confirmed."""
    seconds = 8
    before = resident_bytes(testbed.gateway.process.pid)
    with no_request_lost(testbed, seconds + 3):
        done = subprocess.run(
            [APPLY_LOAD, f"--server=unix:{testbed.gateway.socket}", "--rate=1000",
             f"--seconds={seconds}"],
            capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert revision(testbed, "load") == 1000 * seconds
    assert resident_bytes(testbed.gateway.process.pid) - before < 64 << 20
    testbed.gateway.ctl("delete service load --provider load")


@pytest.mark.parametrize("vip", [VIP_V4, VIP_V6], ids=["ipv4", "ipv6"])
def test_flapping_backends_of_the_loaded_service_lose_nothing(testbed, vip):
    """Weights and readiness of the very service change all the time; the flows stay."""
    load = Wrk(testbed.client, url(vip), seconds=6)
    deadline = time.monotonic() + 4
    turn = 0
    while time.monotonic() < deadline:
        turn += 1
        unready = {"conditions": {"ready": False, "serving": True}}
        testbed.gateway.apply(web(fields={1 + turn % 3: unready, 1 + (turn + 1) % 3:
                                          {"weight": 1 + turn % 9}}))
    assert failures(load.finish()) == {}
    testbed.gateway.apply(web())
    assert sum(curl_many(testbed.client, url(vip), 20).values()) == 20
