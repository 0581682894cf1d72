# SPDX-License-Identifier: Apache-2.0
"""sluiced in a namespace, and sluicectl to talk to it."""

import contextlib
import json
import os
import pathlib
import shlex
import signal
import subprocess

import yaml

import guest
from namespaces import CommandFailed, wait_until
from paths import BUILD

SLUICED = BUILD / "controlplane" / "sluiced"
LCORES = int(os.environ.get("SLUICE_E2E_LCORES", "1"))
# A software NIC before each port, with a queue for each of two lcores: what it can, and so what
# the ports are told to do (tests/support/sluiced_test_nic.cpp).
NICS = {"rss": "inverse_rss", "rss_own_key": "inverse_rss", "sides": "inverse_rss",
        "one_arm": "rte_flow", "rules": "rte_flow", "none": "handoff"}
NIC = ""
# Not one of ours: virtio-net in a virtual machine (guest.py).
VIRTIO = "virtio"
STEERING = NICS | {VIRTIO: "inverse_rss"}
# Drops of replies that came to the wrong lcore: on their way to the right one, or, were they not
# sent there, for want of their flow.
REPLIES_LOST = ("handoff_full", "snat_no_flow", "icmp_no_flow")


def choose_nic(nic):
    """From now on gateways stand behind such a NIC, with two lcores."""
    global NIC, SLUICED, LCORES
    NIC, LCORES = nic, 2
    if nic == VIRTIO:
        return
    SLUICED = BUILD / "tests" / "support" / "sluiced_test_nic"
    os.environ["SLUICE_TEST_NIC"] = nic


SLUICECTL = BUILD / "controlplane" / "cli" / "sluicectl"


if "SLUICE_E2E_NIC" in os.environ:
    choose_nic(os.environ["SLUICE_E2E_NIC"])


def device(driver, number, interface):
    """The DPDK device over a veth. AF_PACKET's default ring loses TCP bursts; this one does not."""
    if NIC == VIRTIO:
        return guest.NICS[interface]
    queues = 1 if NIC else LCORES
    if driver == "af_xdp":
        return f"net_af_xdp{number},iface={interface},queue_count={queues}"
    return (f"net_af_packet{number},iface={interface},blocksz=65536,framesz=2048,framecnt=4096,"
            f"qpairs={queues}")


def steering_of(number):
    """The settings that force the NIC's way on a port: the first one faces clients."""
    if not NIC:
        return {}
    faces = {"faces": "backends" if number else "clients"} if NIC == "sides" else {}
    return {"steering": STEERING[NIC]} | faces


def base_config(ports, snat):
    """`ports`: (twin, device, announced prefixes)."""
    return {
        "dataplane": {"no_hugepages": NIC != VIRTIO, "memory": "256MiB", "idle_sleep": "100us",
                      "idle_wait": "sleep"} | (
            {"lcores": list(range(LCORES))} if LCORES > 1 else {}),
        "ports": [{"name": twin, "device": dev, "announce_on": announced} | steering_of(number)
                  for number, (twin, dev, announced) in enumerate(ports)],
        "snat": [{"address": address} for address in snat],
    }


class Gateway:
    """One sluiced: its configuration file, log and, where it can be, socket are in `directory`."""

    def __init__(self, namespace, directory, config):
        self.namespace = namespace
        self.directory = pathlib.Path(directory)
        self.socket = pathlib.Path(namespace.sockets or directory) / "sluice.sock"
        self.config = dict(config)
        self.config.setdefault("api", {"listen": f"unix:{self.socket}"})
        self.config_file = self.directory / "sluiced.yaml"
        self.log_file = self.directory / "sluiced.log"
        self.process = None

    def write_config(self):
        self.config_file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return self.config_file

    def start(self, seconds=30):
        """Returns when the gateway answers `sluicectl status`."""
        self.write_config()
        with open(self.log_file, "ab") as log:
            self.process = self.namespace.spawn(
                SLUICED, "--config", self.config_file, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._answers_or_ended, seconds, "sluiced answering `sluicectl status`")
        if self.process.poll() is not None:
            raise CommandFailed(f"sluiced ended with {self.process.returncode}:\n{self.log()}")
        return self

    def _answers_or_ended(self):
        return self.process.poll() is not None or self.ctl("status", check=False).returncode == 0

    def stop(self, seconds=20):
        """SIGTERM must end it with exit code 0 and take its socket away."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=seconds)
        if code != 0:
            raise CommandFailed(f"sluiced ended with {code} on SIGTERM:\n{self.log()}")
        if self.namespace.run_beside("test", "-e", self.socket, check=False).returncode == 0:
            raise CommandFailed(f"sluiced left {self.socket} behind")

    def finish(self, seconds=20):
        """stop(), and the claim that no reply was dropped for coming to the wrong lcore."""
        lost = {reason: packets for reason, packets in self.drops().items()
                if reason in REPLIES_LOST and packets}
        self.stop(seconds)
        if lost:
            raise CommandFailed(f"replies were dropped: {lost}")

    def drops(self):
        """Packets dropped, by reason."""
        return {row["reason"]: int(row.get("packets", 0)) for row in self.get("get", "drops")["drops"]}

    def kill(self):
        """As the kernel does when memory is short; DPDK's empty runtime directory stays behind."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.rmdir(f"/var/run/dpdk/sluice-{self.process.pid}")

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def environment(self):
        return os.environ | {"SLUICE_SERVER": f"unix:{self.socket}"}

    def ctl(self, *words, **options):
        """sluicectl, as from a shell: `ctl("get services -o json")` or word by word."""
        if len(words) == 1:
            words = shlex.split(words[0])
        return self.namespace.run_beside(SLUICECTL, *words, env=self.environment(), **options)

    def get(self, *words):
        """What `sluicectl ... -o json` prints, read."""
        return json.loads(self.ctl(*words, "-o", "json").stdout)

    def clear(self, provider="cli"):
        """Deletes every service of a provider."""
        rows = self.get("--provider", provider, "-A", "get", "services").get("services", [])
        for row in rows:
            meta = row["service"]["metadata"]
            self.ctl("--provider", provider, "-n", meta.get("namespace", "default"), "delete", "service",
                     meta["name"])

    def apply(self, *documents, options=(), **run_options):
        """Applies manifests given as values."""
        text = yaml.safe_dump_all(documents, sort_keys=False)
        return self.ctl("apply", "-f", "-", *options, input=text, **run_options)


def service(name, vips, ports, endpoints, namespace="default"):
    """A manifest. `ports`: (name, protocol, port, target port); `endpoints`: addresses, or
    (address, endpoint fields)."""
    listed = []
    for endpoint in endpoints:
        address, fields = (endpoint, {}) if isinstance(endpoint, str) else endpoint
        listed.append({"addresses": [address]} | fields)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerIPs": list(vips),
            "ports": [{"name": port_name, "protocol": protocol, "port": port,
                       "targetPort": target} for port_name, protocol, port, target in ports],
            "endpoints": listed,
        },
    }
