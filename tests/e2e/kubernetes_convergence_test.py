# SPDX-License-Identifier: Apache-2.0
"""Thousands of random changes under random faults: at the end the gateway is what a naive model makes of
the cluster's last state, and at no time did a service have an endpoint that was never its own."""

import collections
import contextlib
import math
import os
import random
import threading

import pytest

from cluster import PROVIDER, Adapter, Cluster, endpoint_slice, kube_service
from gateway import Gateway, base_config
from kubernetes_lab import ingress
from namespaces import CommandFailed, wait_until

SEED = int(os.environ.get("SLUICE_SEED", "0")) or random.randrange(1 << 32)
CHANGES = 3_000
SERVICES = 24
KILLS = {700: "adapter", 1_400: "gateway", 2_100: "adapter"}  # after so many changes
PORTS = {"http": 8080, "admin": 9090}
STATES = ({"ready": True, "serving": True, "terminating": False},
          {"ready": False, "serving": False, "terminating": False},
          {"ready": False, "serving": True, "terminating": True},
          {"ready": False, "serving": False, "terminating": True}, {}, {"ready": None})


@pytest.fixture
def gateway(lab):
    made = Gateway(lab.namespace("gateway"), lab.directory, base_config([("port0", "net_null0", [])], ["192.0.2.1"]))
    made.config["ports"][0] |= {"twin": "none", "addresses": ["192.0.2.2/24"],
                                "routes": [{"prefix": "10.0.0.0/8", "gateway": "192.0.2.254"}]}
    made.config["address_pools"] = [{"name": "edge", "addresses": ["203.0.113.0/24"]}]
    made.config["node_port_addresses"] = ["192.0.2.2"]
    made.start()
    yield made
    made.stop()


class World:
    """What the cluster holds, changed at random. The endpoints of service N are of 10.N.0.0/16."""

    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance
        self.services = {}                            # name: its ports
        self.kinds = {}                               # name: its type
        self.slices = collections.defaultdict(dict)   # name: {slice: (addresses with conditions, ports)}

    def change(self):
        name = f"s{self.chance.randrange(SERVICES)}"
        self.chance.choice((self.change_slice, self.change_slice, self.change_slice, self.drop_slice,
                            self.change_service, self.change_type, self.drop_service))(name)

    def change_slice(self, name):
        number = self.chance.randrange(3)
        addresses = [(f"10.{name[1:]}.0.{host}", self.chance.choice(STATES))
                     for host in self.chance.sample(range(1, 12), self.chance.randrange(6))]
        ports = self.chance.sample(sorted(PORTS.items()), self.chance.randrange(1, 3))
        self.slices[name][number] = (addresses, ports)
        self.cluster.put("endpointslices", endpoint_slice(
            name, addresses, [(port, "TCP", target) for port, target in ports], name=f"{name}-{number}"))

    def drop_slice(self, name):
        if self.slices[name]:
            number = self.chance.choice(sorted(self.slices[name]))
            del self.slices[name][number]
            self.cluster.remove("endpointslices", f"{name}-{number}")

    def change_type(self, name):
        if name in self.services:
            self.kinds[name] = self.chance.choice(("LoadBalancer", "LoadBalancer", "NodePort", "ClusterIP"))
            self.cluster.change_type(name, self.kinds[name])

    def change_service(self, name):
        if self.cluster.has("services", name) and name not in self.services:
            return  # it is on its way out
        ports = self.chance.sample([("http", 80), ("admin", 81)], self.chance.randrange(1, 3))
        self.services[name] = [port for port, _ in ports]
        self.kinds.setdefault(name, "LoadBalancer")
        made = kube_service(name, [(port, "TCP", number) for port, number in ports])
        if self.cluster.has("services", name):
            held = self.cluster.get("services", name)
            held["spec"]["ports"] = made["spec"]["ports"]
            made = held
            del made["metadata"]["resourceVersion"]
        self.cluster.put("services", made)

    def drop_service(self, name):
        if name in self.services:
            del self.services[name], self.kinds[name]
            self.cluster.remove("services", name)

    def meaning(self):
        """{service: {port: endpoints that take new flows}} by KUBERNETES.md 2.1 and 2.2."""
        meant = {}
        for name, ports in self.services.items():
            if self.kinds[name] == "ClusterIP":
                continue  # none is exposed
            meant[name] = {}
            for port in ports:
                states = collections.defaultdict(list)
                for addresses, slice_ports in self.slices[name].values():
                    if port in dict(slice_ports):
                        for address, conditions in addresses:
                            states[f"{address}:{PORTS[port]}"].append(conditions)
                meant[name][port] = usable({address: best(copies) for address, copies in states.items()})
        return meant


def best(copies):
    """Of copies of one endpoint, the one that does not terminate, then the ready one."""
    return min(copies, key=lambda c: (c.get("terminating") is True, c.get("ready") is False,
                                      c.get("serving") is False))


def usable(endpoints):
    ready = {address for address, c in endpoints.items() if c.get("ready") is not False}
    return ready or {address for address, c in endpoints.items()
                     if c.get("terminating") is True and c.get("serving") is not False}


def reality(gateway):
    """The same, as the gateway has it."""
    found = {}
    for row in gateway.get("--provider", PROVIDER, "get", "services").get("services", []):
        made = row["service"]
        found[made["metadata"]["name"]] = {port["name"]: set() for port in made["spec"]["ports"]}
    for row in gateway.get("--provider", PROVIDER, "get", "backends").get("backends", []):
        ports = found.get(row["service"]["name"], {})
        if row["state"] == "active" and row["servicePort"] in ports:
            ports[row["servicePort"]].add(f"{row['address']}:{row['port']}")
    return found


def misfits(gateway):
    """Endpoints of a service that are of another one's addresses."""
    return [row for row in gateway.get("--provider", PROVIDER, "get", "backends").get("backends", [])
            if not row["address"].startswith(f"10.{row['service']['name'][1:]}.0.")]


def disturb(cluster, chance):
    """A fault, or the end of all of them."""
    faults = cluster.faults
    kind = chance.randrange(8)
    if kind == 0:
        faults.cut_at.append((chance.choice(("services", "endpointslices")),
                              chance.choice(("before", "inside", "after"))))
    elif kind == 1:
        faults.gone = chance.choice((1, 3, math.inf))
    elif kind == 2:
        faults.refuse.extend([(chance.choice((401, 429, 503)), {"Retry-After": "1"})] * chance.randrange(1, 3))
    elif kind == 3:
        faults.duplicate = True
    elif kind == 4:
        faults.delay = {chance.choice(("services", "endpointslices")): 0.3}
    elif kind == 5:
        cluster.restart()
    else:
        calm(faults)


def kill(which, adapter, gateway):
    """Without a word, and another takes its place, which has to find out how things are."""
    if which == "gateway":
        gateway.kill()
        gateway.start()
    else:
        adapter.process.kill()
        adapter.process.wait()
        adapter.start()


def calm(faults):
    faults.gone, faults.duplicate, faults.delay = 0, False, {}
    faults.cut_at.clear()
    faults.refuse.clear()


def test_after_thousands_of_changes_under_faults_the_gateway_is_what_the_cluster_says(gateway, tmp_path):
    print(f"SLUICE_SEED={SEED}")
    chance = random.Random(SEED)
    strays, over = [], threading.Event()

    def look():
        while not over.wait(0.3):
            with contextlib.suppress(CommandFailed):  # the gateway starts anew
                strays.extend(misfits(gateway))
    with Cluster(tmp_path) as cluster, Adapter(tmp_path, [gateway], cluster.kubeconfig()) as adapter:
        world = World(cluster, chance)
        looking = threading.Thread(target=look)
        looking.start()
        try:
            for number in range(CHANGES):
                world.change()
                if number % 100 == 99:
                    disturb(cluster, chance)
                if number in KILLS:
                    kill(KILLS[number], adapter, gateway)
        finally:
            over.set()
            looking.join()
        calm(cluster.faults)
        wait_until(lambda: reality(gateway) == world.meaning(), 60, "the gateway agreeing with the cluster")
        assert strays == []
        assert adapter.process.poll() is None
        balancers = {name for name, kind in world.kinds.items() if kind == "LoadBalancer"}
        wait_until(lambda: {name for name in world.services if ingress(cluster, name)} == balancers, 40, "the statuses")
        addresses = {name: [entry["ip"] for entry in cluster.get("services", name)["status"]["loadBalancer"]["ingress"]]
                     for name in balancers}
        given = [address for each in addresses.values() for address in each]
        assert len(given) == len(set(given)) == len(balancers), addresses
