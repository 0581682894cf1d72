# SPDX-License-Identifier: Apache-2.0
"""sluiced and sluice-pktgen with two memif ports between them: no card and no kernel in the way.

    sluice-pktgen   clients  198.18.0.1 ...        2001:2::1 ...
                    backends 10.10.1.1 ...         2001:db8:10::1:1 ...
    gateway         wan0     192.0.2.1/24          2001:db8:2::1/64
                    lan0     10.10.0.1/16          2001:db8:10::1/64
    SNAT                     10.10.0.100           2001:db8:10::100
"""

import contextlib
import dataclasses
import ipaddress
import json
import os
import pathlib
import subprocess
import tempfile
import threading

from gateway import BUILD, Gateway, service
from namespaces import CommandFailed, wait_until

PKTGEN = BUILD / "bench" / "pktgen" / "sluice-pktgen"
VIP = {4: "203.0.113.10", 6: "2001:db8:113::10"}
SNAT = {4: "10.10.0.100", 6: "2001:db8:10::100"}
FIRST_BACKEND = {4: "10.10.1.1", 6: "2001:db8:10::1:1"}
GATEWAY_MAC = "02:00:00:00:00:aa"
CLIENT_MAC = "02:00:00:00:00:01"
BACKEND_MAC = "02:00:00:00:01:11"
PORT, TARGET_PORT = 80, 8080


@dataclasses.dataclass
class SetUp:
    """What a run needs to know of both ends."""

    version: int = 4          # of IP
    mode: str = "FULL_NAT"
    protocol: str = "UDP"
    flows: int = 1000         # what tables have room for, twice
    backends: int = 4
    lcores: tuple = (0,)
    hugepages: bool = False
    memory_mib: int = 256     # for each lcore
    ring_log2: int = 12       # packets of each memif ring: a busy machine makes both ends wait
    idle_sleep: str = "0s"
    idle_wait: str = ""       # the default

    def backend(self, number):
        return str(ipaddress.ip_address(FIRST_BACKEND[self.version]) + number)


def device(number, role, directory, set_up):
    return (f"net_memif{number},role={role},id={number},socket={directory}/memif.sock,"
            f"socket-abstract=no,rsize={set_up.ring_log2}")


def config(directory, set_up):
    descriptors = 1 << set_up.ring_log2
    common = {"twin": "none", "rx_descriptors": descriptors, "tx_descriptors": descriptors}
    room = {4: 4096, 6: 4096} | {set_up.version: max(4096, 2 * set_up.flows)}
    mac = f",mac={GATEWAY_MAC}"
    return {
        "dataplane": {
            "lcores": list(set_up.lcores), "memory": f"{set_up.memory_mib * len(set_up.lcores)}MiB",
            "no_hugepages": not set_up.hugepages, "idle_sleep": set_up.idle_sleep,
            "idle_wait": set_up.idle_wait,
            "flows_ipv4": room[4], "flows_ipv6": room[6]},
        "ports": [
            common | {
                "name": "wan0", "device": device(0, "client", directory, set_up) + mac,
                "addresses": ["192.0.2.1/24", "2001:db8:2::1/64"],
                "announce_on": ["203.0.113.0/24", "2001:db8:113::/64"],
                "neighbours": [{"address": address, "mac": CLIENT_MAC}
                               for address in ("192.0.2.254", "2001:db8:2::fe")],
                "routes": [{"prefix": "0.0.0.0/0", "gateway": "192.0.2.254"},
                           {"prefix": "::/0", "gateway": "2001:db8:2::fe"}]},
            common | {
                "name": "lan0", "device": device(1, "client", directory, set_up),
                "addresses": ["10.10.0.1/16", "2001:db8:10::1/64"],
                "neighbours": [{"address": set_up.backend(number), "mac": BACKEND_MAC}
                               for number in range(set_up.backends)]},
        ],
        "snat": [{"address": address} for address in SNAT.values()],
    }


def manifest(set_up):
    made = service("bench", [VIP[set_up.version]], [("bench", set_up.protocol, PORT, TARGET_PORT)],
                   [set_up.backend(number) for number in range(set_up.backends)])
    made["spec"]["forwarding"] = {"mode": set_up.mode}
    return made


def lcore_thread(process, cpu):
    """PID/TID of a forwarding thread."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/comm", encoding="ascii") as comm:
            if comm.read().strip() == f"rte-worker-{cpu}":
                return f"{process.pid}/{task}"
    raise AssertionError(f"sluiced has no thread for lcore {cpu}")


def pktgen_argv(directory, set_up, *words, core=1):
    """The generator's command; the last words are the caller's."""
    source = "client" if set_up.mode == "DNAT" else SNAT[set_up.version]
    pages = [] if set_up.hugepages else ["--no-hugepages"]
    queues = ["--rss-queues", len(set_up.lcores)] if len(set_up.lcores) > 1 else []
    argv = [PKTGEN, "--client-port", device(0, "server", directory, set_up),
            "--backend-port", device(1, "server", directory, set_up), "--core", core,
            "--protocol", set_up.protocol.lower(), "--vip", VIP[set_up.version],
            "--vip-port", PORT, "--backend", set_up.backend(0), "--backends", set_up.backends,
            "--target-port", TARGET_PORT, "--source", source,
            "--descriptors", 1 << set_up.ring_log2, "--client-mac", CLIENT_MAC,
            "--backend-mac", BACKEND_MAC, "--json", "--linger", 60, *pages, *queues, *words]
    if "--flows" not in words:
        argv += ["--flows", set_up.flows]
    return [str(word) for word in argv]


class LinkFailed(CommandFailed):
    """The two ends did not find each other."""


def prefer(process):
    """Before all else that wants the processor. A session is a group whose own weight counts first
    (sched(7), autogroup), so that being nice within it says nothing to others."""
    os.setpriority(os.PRIO_PROCESS, process.pid, -20)
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/{process.pid}/autogroup").write_text("-20", encoding="ascii")


class Run:
    """One generator and one gateway, for one measurement. A context manager."""

    def __init__(self, lab, set_up, *words, core=1, preferred=False):
        self._directory = pathlib.Path(tempfile.mkdtemp(dir=lab.directory))
        watched = self._directory / "lcore"
        # The generator has the memif sockets, so it comes first; it goes on when the VIP answers.
        self._log = self._directory / "pktgen.log"
        with open(self._log, "wb") as log:
            self.process = lab.spawn(
                pktgen_argv(self._directory, set_up, "--watch", watched, *words, core=core),
                stdout=subprocess.PIPE, stderr=log, text=True)
        if preferred:
            prefer(self.process)
        wait_until(lambda: "waiting" in self.log() or self.process.poll() is not None, 60,
                   "sluice-pktgen waiting for its gateway")
        if self.process.poll() is not None:
            raise CommandFailed(f"sluice-pktgen: {self.log()}")
        namespace = lab.namespace(f"gateway-{self._directory.name}")
        self.gateway = Gateway(namespace, self._directory, config(self._directory, set_up)).start()
        if preferred:
            prefer(self.gateway.process)
            for task in os.listdir(f"/proc/{self.gateway.process.pid}/task"):
                os.setpriority(os.PRIO_PROCESS, int(task), -20)
        watched.write_text(lcore_thread(self.gateway.process, set_up.lcores[0]), encoding="ascii")
        self.gateway.apply(manifest(set_up))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The gateway first: one that polls while its memif peer goes may crash.
        try:
            self.gateway.stop()
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()

    def result(self, seconds=60):
        """What the generator printed; it stays for as long as the gateway."""
        out = self._printed(seconds)
        if not out:
            code = self.process.wait(10)
            kind = LinkFailed if "no link came up" in self.log() else CommandFailed
            raise kind(f"sluice-pktgen: exit {code}\n{self.log()}")
        return json.loads(out)

    def _printed(self, seconds):
        """All of its standard output, which it closes before it lingers."""
        printed = []
        reader = threading.Thread(target=lambda: printed.append(self.process.stdout.read()))
        reader.start()
        reader.join(seconds)
        if reader.is_alive():
            self.process.kill()
            reader.join()
            raise CommandFailed(f"sluice-pktgen: no report in {seconds} s\n{self.log()}")
        return printed[0]

    def log(self):
        """What the generator said for people."""
        return self._log.read_text(errors="replace")
