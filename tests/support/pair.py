# SPDX-License-Identifier: Apache-2.0
"""Two gateways with the same VIPs on one segment.

    client --- segment --+-- one --+-- fabric --- backend
                         +-- two --+

    client 192.0.2.2   one 192.0.2.1 10.10.0.1   two 192.0.2.3 10.10.0.2   backend 10.10.0.11
    SNAT               10.10.0.101               10.10.0.102, each gateway's own; IPv6 likewise
"""

from gateway import Gateway, base_config, device
from nginx import start_nginx
from topology import CLIENT_V4, CLIENT_V6, VIP_PREFIXES, backend_v4, backend_v6

# Suffixes of addresses: on the segment, on the fabric, of SNAT.
GATEWAYS = {"one": (1, 1, 101), "two": (3, 2, 102)}


class Pair:
    """Call inside a Lab. `settings`: {name: configuration besides}. Both run when it returns."""

    def __init__(self, lab, driver, settings):
        self.client, self.backend = lab.namespace("client"), lab.namespace("backend")
        self.hosts = {name: lab.namespace(name) for name in GATEWAYS}
        self._switch(lab, "segment", [(self.client, "wan")] + [(h, "wan") for h in self.hosts.values()])
        self._switch(lab, "fabric", [(self.backend, "eth0")] + [(h, "lan") for h in self.hosts.values()])
        for address in (f"{CLIENT_V4}/24", f"{CLIENT_V6}/64"):
            self.client.add_address("wan", address)
        for prefix in VIP_PREFIXES:
            self.client.ip("route", "add", prefix, "dev", "wan")
        for address in (f"{backend_v4(1)}/24", f"{backend_v6(1)}/64"):
            self.backend.add_address("eth0", address)
        start_nginx(self.backend, "backend", lab.directory)
        self.gateways = {name: self._start(lab, driver, name, settings.get(name, {}))
                         for name in GATEWAYS}

    @staticmethod
    def _switch(lab, name, ends):
        switch = lab.namespace(name)
        switch.ip("link", "add", "switch", "type", "bridge", "mcast_snooping", "0")
        switch.ip("link", "set", "switch", "up")
        for number, (namespace, interface) in enumerate(ends):
            lab.cable(switch, f"end{number}", namespace, interface)
            switch.ip("link", "set", f"end{number}", "master", "switch")

    def _start(self, lab, driver, name, settings):
        segment, fabric, snat = GATEWAYS[name]
        config = base_config(
            [("wan0", device(driver, 0, "wan"), list(VIP_PREFIXES)), ("lan0", device(driver, 1, "lan"), [])],
            [f"10.10.0.{snat}", f"2001:db8:10::{snat}"]) | settings
        host = self.hosts[name]
        config["api"] = {"listen": f"unix:{lab.directory}/{name}.sock"}
        gateway = Gateway(host, lab.directory, config)
        gateway.config_file = gateway.directory / f"{name}.yaml"
        gateway.log_file = gateway.directory / f"{name}.log"
        gateway.socket = gateway.directory / f"{name}.sock"
        gateway.start()
        for twin, addresses in (("wan0", (f"192.0.2.{segment}/24", f"2001:db8:2::{segment}/64")),
                                ("lan0", (f"10.10.0.{fabric}/24", f"2001:db8:10::{fabric}/64"))):
            for address in addresses:
                host.add_address(twin, address)
        return gateway

    def finish(self):
        for gateway in self.gateways.values():
            gateway.finish()
