# SPDX-License-Identifier: Apache-2.0
"""The network that the demo and the end-to-end tests share.

    client --veth-- [wan] gateway [lan] --veth-- fabric (bridge) --veth-- backend1..3

    client    wan  192.0.2.2/24       2001:db8:2::2/64       the prefixes of the VIPs are on-link
    gateway   wan0 192.0.2.1/24       2001:db8:2::1/64       the twin of the DPDK port on wan
              lan0 10.10.0.1/24       2001:db8:10::1/64      the twin of the DPDK port on lan
    SNAT           10.10.0.100        2001:db8:10::100       the gateway's own, no host's
    backendN  eth0 10.10.0.(10+N)/24  2001:db8:10::(10+N)/64
"""

import os

import gateway
from gateway import Gateway, base_config, device
from guest import Guest
from namespaces import CommandFailed, Lab

VIP_V4 = "203.0.113.10"
VIP_V6 = "2001:db8:113::10"
VIP_PREFIXES = ("203.0.113.0/24", "2001:db8:113::/64")
CLIENT_V4 = "192.0.2.2"
CLIENT_V6 = "2001:db8:2::2"
SNAT_V4 = "10.10.0.100"
SNAT_V6 = "2001:db8:10::100"
BACKENDS = (1, 2, 3)


def backend_v4(number):
    return f"10.10.0.{10 + number}"


def backend_v6(number):
    return f"2001:db8:10::{10 + number}"


class Topology:
    """Call inside a Lab. The gateway is made, not started."""

    def __init__(self, lab, driver):
        self.lab = lab
        self.driver = driver
        self.client = lab.namespace("client")
        self.gateway_host = self._make_gateway_host()
        self.fabric = lab.namespace("fabric")
        self.backends = {number: lab.namespace(f"backend{number}") for number in BACKENDS}
        self._connect_client()
        self._connect_backends()
        self.gateway = self.make_gateway()

    def _make_gateway_host(self):
        namespace = self.lab.namespace("gateway")
        return Guest(namespace, self.lab) if gateway.NIC == gateway.VIRTIO else namespace

    def _cable_gateway(self, other, device, port):
        cable = self.lab.cable_to_guest if gateway.NIC == gateway.VIRTIO else self.lab.cable
        cable(other, device, self.gateway_host, port)

    def _connect_client(self):
        self._cable_gateway(self.client, "wan", "wan")
        for address in (f"{CLIENT_V4}/24", f"{CLIENT_V6}/64"):
            self.client.add_address("wan", address)
        for prefix in VIP_PREFIXES:
            self.client.ip("route", "add", prefix, "dev", "wan")

    def _connect_backends(self):
        self.fabric.ip("link", "add", "switch", "type", "bridge", "mcast_snooping", "0")
        self.fabric.ip("link", "set", "switch", "up")
        self._cable_gateway(self.fabric, "gateway", "lan")
        self.fabric.ip("link", "set", "gateway", "master", "switch")
        for number, backend in self.backends.items():
            self.lab.cable(self.fabric, f"backend{number}", backend, "eth0")
            self.fabric.ip("link", "set", f"backend{number}", "master", "switch")
            backend.add_address("eth0", f"{backend_v4(number)}/24")
            backend.add_address("eth0", f"{backend_v6(number)}/64")

    def config(self):
        return base_config(
            [("wan0", device(self.driver, 0, "wan"), list(VIP_PREFIXES)),
             ("lan0", device(self.driver, 1, "lan"), [])],
            [SNAT_V4, SNAT_V6])

    def make_gateway(self):
        return Gateway(self.gateway_host, self.lab.directory, self.config())

    def start_gateway(self):
        """Starts sluiced and gives its twins their addresses and routes, as on any Linux router."""
        self.gateway.start()
        for twin, addresses in (("wan0", ("192.0.2.1/24", "2001:db8:2::1/64")),
                                ("lan0", ("10.10.0.1/24", "2001:db8:10::1/64"))):
            for address in addresses:
                self.gateway_host.add_address(twin, address)
        for prefix in VIP_PREFIXES:
            self.gateway_host.ip("route", "replace", prefix, "dev", "wan0")
        return self.gateway


def choose_driver():
    """That of a guest's NICs; SLUICE_E2E_PORT when given; else af_xdp where sluiced starts on it, else
    af_packet."""
    if gateway.NIC == gateway.VIRTIO:
        return "net_virtio"
    asked = os.environ.get("SLUICE_E2E_PORT", "")
    if asked:
        if asked not in ("af_xdp", "af_packet"):
            raise CommandFailed(f"SLUICE_E2E_PORT: '{asked}' is neither af_xdp nor af_packet")
        return asked
    with Lab(f"sluice-probe-{os.getpid()}") as lab:
        host, peer = lab.namespace("gateway"), lab.namespace("peer")
        lab.cable(host, "wan", peer, "wan")
        config = base_config([("wan0", device("af_xdp", 0, "wan"), [])], [SNAT_V4])
        probe = Gateway(host, lab.directory, config)
        try:
            probe.start(15)
            probe.stop()
            return "af_xdp"
        except CommandFailed:
            return "af_packet"
