# SPDX-License-Identifier: Apache-2.0
"""sluiced and sluice-pktgen with two memif ports, or virtio-user's, between them: no card and no
kernel in the way.

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

from gateway import Gateway, service
from namespaces import CommandFailed, wait_until
from paths import BUILD

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
    mode: str = "FULL_NAT"    # or DNAT; IO: testpmd in the gateway's place, see IoRun
    protocol: str = "UDP"
    flows: int = 1000         # what tables have room for, twice
    backends: int = 4
    lcores: tuple = (0,)
    hugepages: bool = False
    memory_mib: int = 256     # for each lcore
    ring_log2: int = 12       # packets of each memif ring: a busy machine makes both ends wait
    idle_sleep: str = "0s"
    idle_wait: str = ""       # the default
    link: str = "memif"       # or vhost: virtio-user is the gateway's end

    def backend(self, number):
        return str(ipaddress.ip_address(FIRST_BACKEND[self.version]) + number)


def device(number, role, directory, set_up):
    if set_up.link == "vhost":
        path = f"{directory}/vhost{number}.sock"
        return (f"net_vhost{number},iface={path},queues=1" if role == "server" else
                f"net_virtio_user{number},path={path},queues=1,queue_size={1 << set_up.ring_log2}")
    return (f"net_memif{number},role={role},id={number},socket={directory}/memif.sock,"
            f"socket-abstract=no,rsize={set_up.ring_log2}")


def config(directory, set_up):
    descriptors = 1 << set_up.ring_log2
    common = {"twin": "none", "rx_descriptors": descriptors, "tx_descriptors": descriptors}
    room = {4: 4096, 6: 4096} | {set_up.version: max(4096, 2 * set_up.flows)}
    mac = f",mac={GATEWAY_MAC}"
    return {
        "dataplane": {
            # As in deploy/examples/sluiced-virtio-user.yaml.
            "eal_arguments": ["--single-file-segments"] if set_up.link == "vhost" else [],
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


def lcore_thread(process, lcore):
    """PID/TID of a forwarding thread; sluiced's lcores have the numbers of their CPUs."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/comm", encoding="ascii") as comm:
            if comm.read().strip() == f"rte-worker-{lcore}":
                return f"{process.pid}/{task}"
    raise AssertionError(f"there is no thread for lcore {lcore}")


def pktgen_argv(directory, set_up, *words, core=1):
    """The generator's command; the last words are the caller's."""
    source = {"FULL_NAT": SNAT[set_up.version], "DNAT": "client", "IO": "any"}[set_up.mode]
    vip, port = VIP[set_up.version], PORT
    if set_up.mode == "IO":  # nobody translates: clients ask the backend itself
        vip, port = set_up.backend(0), TARGET_PORT
    pages = [] if set_up.hugepages else ["--no-hugepages"]
    queues = ["--rss-queues", len(set_up.lcores)] if len(set_up.lcores) > 1 else []
    argv = [PKTGEN, "--client-port", device(0, "server", directory, set_up),
            "--backend-port", device(1, "server", directory, set_up), "--core", core,
            "--protocol", set_up.protocol.lower(), "--vip", vip,
            "--vip-port", port, "--backend", set_up.backend(0), "--backends", set_up.backends,
            "--target-port", TARGET_PORT, "--source", source,
            "--descriptors", 1 << set_up.ring_log2, "--client-mac", CLIENT_MAC,
            "--backend-mac", BACKEND_MAC, "--json", "--linger", 60, *pages, *queues, *words]
    if "--flows" not in words:
        argv += ["--flows", set_up.flows]
    return [str(word) for word in argv]


class LinkFailed(CommandFailed):
    """The two ends did not find each other."""


def linked(measure):
    """What `measure` returns: memif's handshake gets stuck now and then when the machine is busy, and
    then it is called again, twice at the most."""
    for _ in range(2):
        with contextlib.suppress(LinkFailed):
            return measure()
    return measure()


def prefer(process):
    """Before all else that wants the processor. A session is a group whose own weight counts first
    (sched(7), autogroup), so that being nice within it says nothing to others."""
    os.setpriority(os.PRIO_PROCESS, process.pid, -20)
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/{process.pid}/autogroup").write_text("-20", encoding="ascii")


class Generator:
    """sluice-pktgen, waiting for who forwards; it has the memif sockets, so it comes first."""

    def __init__(self, lab, set_up, *words, core=1, preferred=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=lab.directory))
        self.watched = self.directory / "lcore"
        self._log = self.directory / "pktgen.log"
        with open(self._log, "wb") as log:
            self.process = lab.spawn(
                pktgen_argv(self.directory, set_up, "--watch", self.watched, *words, core=core),
                stdout=subprocess.PIPE, stderr=log, text=True)
        if preferred:
            prefer(self.process)
        wait_until(lambda: "waiting" in self.log() or self.process.poll() is not None, 60,
                   "sluice-pktgen waiting for its gateway")
        if self.process.poll() is not None:
            raise CommandFailed(f"sluice-pktgen: {self.log()}")

    @contextlib.contextmanager
    def ended_by_a_fault(self):
        """While the other end starts: without one there is nothing to wait for, and the next
        measurement wants this one's memory."""
        try:
            yield
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def stop(self):
        """After the other end: one that polls while its memif peer goes may crash."""
        try:
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


class Run:
    """One generator and one gateway, for one measurement. A context manager."""

    def __init__(self, lab, set_up, *words, core=1, preferred=False):
        self._generator = Generator(lab, set_up, *words, core=core, preferred=preferred)
        # It goes on when the VIP answers.
        with self._generator.ended_by_a_fault():
            self._start_gateway(lab, set_up, preferred)

    def _start_gateway(self, lab, set_up, preferred):
        directory = self._generator.directory
        namespace = lab.namespace(f"gateway-{directory.name}")
        self.gateway = Gateway(namespace, directory, config(directory, set_up)).start()
        if preferred:
            prefer(self.gateway.process)
            for task in os.listdir(f"/proc/{self.gateway.process.pid}/task"):
                os.setpriority(os.PRIO_PROCESS, int(task), -20)
        self._generator.watched.write_text(
            lcore_thread(self.gateway.process, set_up.lcores[0]), encoding="ascii")
        self.gateway.apply(manifest(set_up))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.gateway.stop()
        finally:
            self._generator.stop()

    def result(self, seconds=60):
        """What the generator printed; it stays for as long as the gateway."""
        return self._generator.result(seconds)

    def log(self):
        """What the generator said for people."""
        return self._generator.log()


class IoRun:
    """The generator, and dpdk-testpmd in the gateway's place, which hands each packet on as it is:
    what the two ports and the generator can carry at most. A context manager."""

    def __init__(self, lab, set_up, *words, core=1, preferred=False):
        self._generator = Generator(lab, set_up, "--gateway-mac", GATEWAY_MAC, "--no-open", *words,
                                    core=core, preferred=preferred)
        with self._generator.ended_by_a_fault():
            self._start_testpmd(lab, set_up, preferred)

    def _start_testpmd(self, lab, set_up, preferred):
        directory, cpu = self._generator.directory, set_up.lcores[0]
        ports = [word for number in (0, 1)
                 for word in ("--vdev", device(number, "client", directory, set_up))]
        descriptors = 1 << set_up.ring_log2
        self._process = lab.spawn(
            ["dpdk-testpmd", "--lcores", f"0@{cpu},1@{cpu}", "--main-lcore", "0", "--in-memory",
             "--no-telemetry", "--no-pci", f"--file-prefix={directory.name}",
             "-m", str(set_up.memory_mib), *ports, "--", "--interactive", "--auto-start",
             "--nb-cores=1", "--forward-mode=io", "--burst=64", f"--rxd={descriptors}",
             f"--txd={descriptors}", f"--total-num-mbufs={3 * descriptors}"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True)
        if preferred:
            prefer(self._process)
        wait_until(self._forwards, 30, "dpdk-testpmd's forwarding lcore")
        self._generator.watched.write_text(lcore_thread(self._process, 1), encoding="ascii")

    def _forwards(self):
        with contextlib.suppress(AssertionError):
            return bool(lcore_thread(self._process, 1))
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._process.communicate("quit\n", timeout=10)
        finally:
            self._process.kill()
            self._process.wait()
            self._generator.stop()

    def result(self, seconds=60):
        """What the generator printed."""
        return self._generator.result(seconds)
