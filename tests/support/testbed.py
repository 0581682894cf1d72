# SPDX-License-Identifier: Apache-2.0
"""The topology with its servers running: three backends, each nginx on port 80 and an echo server
on port 7 (TCP and UDP), and the services most tests want."""

import subprocess
import sys

from gateway import service
from nginx import start_nginx
from paths import ROOT
from topology import BACKENDS, VIP_V4, VIP_V6, Topology, backend_v4, backend_v6

HTTP = ("http", "TCP", 80, 80)
ECHO_TCP = ("echo-tcp", "TCP", 7, 7)
ECHO_UDP = ("echo-udp", "UDP", 7, 7)


def name_of(number):
    return f"backend{number}"


def both_families(numbers, fields=None):
    """Endpoints of backends, IPv4 and IPv6; `fields`: {number: endpoint fields}."""
    fields = fields or {}
    return [(address(number), fields.get(number, {}))
            for address in (backend_v4, backend_v6) for number in numbers]


def web(numbers=BACKENDS, fields=None, name="web", vips=(VIP_V4, VIP_V6)):
    return service(name, vips, [HTTP, ECHO_TCP, ECHO_UDP], both_families(numbers, fields))


class Testbed:
    """Call inside a Lab; the gateway runs and `web` is applied when it returns."""

    __test__ = False  # not a class of tests, whatever its name says

    def __init__(self, lab, driver, topology=Topology):
        self.topology = topology(lab, driver)
        self.lab = lab
        self.client = self.topology.client
        self.host = self.topology.gateway_host
        self.backends = self.topology.backends
        for number, backend in self.backends.items():
            start_nginx(backend, name_of(number), lab.directory)
            start_echo(backend, name_of(number))
        self.gateway = self.topology.start_gateway()
        self.gateway.apply(web())

    def backend_rows(self, service_name="web", port="http"):
        """`sluicectl get backends` of one service port, by address."""
        rows = self.gateway.get("get", "backends", service_name)["backends"]
        return {row["address"]: row for row in rows if row.get("servicePort", "") == port}


def start_echo(namespace, name, port=7):
    process = namespace.spawn(sys.executable, ROOT / "tests" / "support" / "echo.py", name, port,
                              stdout=subprocess.PIPE)
    process.stdout.readline()
    return process
