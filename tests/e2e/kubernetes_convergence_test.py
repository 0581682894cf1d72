# SPDX-License-Identifier: Apache-2.0
"""Thousands of random changes under random faults: at the end the gateway is what a naive model makes of
the cluster's last state, and at no time did a service have an endpoint, or an address, that was never
its own."""

import collections
import math
import os
import random
import threading
import time

import pytest

from cluster import PROVIDER, Adapter, Cluster, endpoint_slice, kube_service
from gateway import Gateway, base_config
from kubernetes_lab import ingress
from namespaces import wait_until

SEED = int(os.environ.get("SLUICE_SEED", "0")) or random.randrange(1, 1 << 32)
CHANGES, DISTURBED_EVERY = 3_000, 100
CALM = 0.4  # of what comes so often: all faults are over
SERVICES = 24
FEWEST = SERVICES // 2  # a deleted one takes its time to go, and changes come faster than that
KILLS = {700: "adapter", 1_400: "gateway", 2_100: "adapter"}  # after so many changes
PORTS = {"http": 8080, "admin": 9090}
POOL = "203.0.113."
WATCHED = ("services", "endpointslices")
HUGE_BYTES = 1_500_000  # as much as etcd holds
UNREADABLE = {"services": {"spec": {"ports": "many"}}, "endpointslices": {"endpoints": "many"}}
STATES = ({"ready": True, "serving": True, "terminating": False},
          {"ready": False, "serving": False, "terminating": False},
          {"ready": False, "serving": True, "terminating": True},
          {"ready": False, "serving": False, "terminating": True}, {}, {"ready": None})


@pytest.fixture
def gateway(lab):
    made = Gateway(lab.namespace("gateway"), lab.directory, base_config([("port0", "net_null0", [])], ["192.0.2.1"]))
    made.config["ports"][0] |= {"twin": "none", "addresses": ["192.0.2.2/24"],
                                "routes": [{"prefix": "10.0.0.0/8", "gateway": "192.0.2.254"}]}
    made.config["address_pools"] = [{"name": "edge", "addresses": [f"{POOL}0/24"]}]
    made.config["node_port_addresses"] = ["192.0.2.2"]
    made.start()
    yield made
    made.stop()


class World:
    """What the cluster holds, changed at random. The endpoints of service N are of 10.N.0.0/16."""

    def __init__(self, cluster):
        self.cluster, self.chance = cluster, None
        self.services = {}                            # name: its ports
        self.kinds = {}                               # name: its type
        self.slices = collections.defaultdict(dict)   # name: {slice: (addresses with conditions, ports)}
        self.ever = collections.defaultdict(set)      # name: all endpoints that it has had
        self.marred = set()                           # (resource, name) that are huge, or cannot be read

    def change(self, chance):
        self.chance = chance
        name = f"s{self.chance.randrange(SERVICES)}"
        self.chance.choice((self.change_slice, self.change_slice, self.change_slice, self.drop_slice,
                            self.change_service, self.change_type, self.drop_service))(name)

    def change_slice(self, name):
        number = self.chance.randrange(3)
        addresses = [(f"10.{name[1:]}.0.{host}", self.chance.choice(STATES))
                     for host in self.chance.sample(range(1, 12), self.chance.randrange(6))]
        ports = self.chance.sample(sorted(PORTS.items()), self.chance.randrange(1, 3))
        self.slices[name][number] = (addresses, ports)
        self.ever[name] |= {f"{address}:{target}" for address, _ in addresses for _, target in ports}
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
        ports = self.chance.sample([("http", 80), ("admin", 81)], self.chance.randrange(1, 3))
        if self.cluster.has("services", name) and name not in self.services:
            return  # it is on its way out
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
        if name in self.services and len(self.services) > FEWEST:
            del self.services[name], self.kinds[name]
            self.cluster.remove("services", name)

    def mar(self, is_huge):
        """An object that is there becomes very large; or nobody can read it any more, and what was read
        last holds. Of a service that has an address that would not be all: who comes later and never
        could read it does not know that the address is not free."""
        there = [("endpointslices", f"{name}-{number}") for name in sorted(self.slices)
                 for number in sorted(self.slices[name])]
        there += [("services", name) for name in sorted(self.services)
                  if is_huge or self.kinds[name] != "LoadBalancer"]
        if there:
            resource, name = self.chance.choice(there)
            self.marred.add((resource, name))
            if not is_huge:
                self.cluster.faults.spoil[name] = UNREADABLE[resource]
            self.cluster.annotate(resource, name, note="x" * (HUGE_BYTES if is_huge else 1))

    def mend(self):
        """By a change of each, as of whoever mends it."""
        self.cluster.faults.spoil.clear()
        for resource, name in sorted(self.marred):
            self.cluster.annotate(resource, name, note="mended")
        self.marred.clear()

    def addressed(self):
        """{VIP: (service, uid)}, as the statuses of those say that are to stay."""
        async def read():
            services = self.cluster.store.objects.get(self.cluster.resource("services"), {})
            return {entry["ip"]: (name, thing["metadata"]["uid"]) for (_, name), thing in services.items()
                    if "deletionTimestamp" not in thing["metadata"]
                    for entry in (thing["status"].get("loadBalancer") or {}).get("ingress") or []}
        return self.cluster.call(read())

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


def rows(gateway, what):
    return gateway.get("--provider", PROVIDER, "get", what).get(what, [])


def reality(gateway):
    """The same, as the gateway has it."""
    found = {}
    for row in rows(gateway, "services"):
        made = row["service"]
        found[made["metadata"]["name"]] = {port["name"]: set() for port in made["spec"]["ports"]}
    for row in rows(gateway, "backends"):
        ports = found.get(row["service"]["name"], {})
        if row["state"] == "active" and row["servicePort"] in ports:
            ports[row["servicePort"]].add(f"{row['address']}:{row['port']}")
    return found


def holders(services):
    """{VIP: names of the services that have it at the gateway, or are reached by it}."""
    found = collections.defaultdict(set)
    for made in (row["service"] for row in services):
        status = made.get("status", {})
        for address in [each["ip"] for each in status.get("loadBalancer", {}).get("ingress", [])] + [
                each["address"] for each in status.get("frontends", [])] + made["spec"].get("loadBalancerIPs", []):
            if address.startswith(POOL):
                found[address].add(made["metadata"]["name"])
    return found


class Observer:
    """Looks at the gateway again and again, in a thread, and notes what must never be: an endpoint of a
    service that never had it; an address of two services at once; an address of another service than
    the one whose status has it, before and after the look."""

    def __init__(self, world, gateway):
        self.world, self.gateway = world, gateway
        self.gateway_is_there = threading.Lock()  # of whoever looks at it, or takes it away
        self.strays, self.vips = set(), set()
        self.looks = self.endpoints = 0
        self._fault, self._over = None, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(60)
        self.seconds = time.monotonic() - self._begun

    def _run(self):
        try:
            while not self._over.wait(0.1):
                with self.gateway_is_there:
                    self._look()
        except Exception as fault:  # is the test's
            self._fault = fault

    def _look(self):
        before = self.world.addressed()
        services, backends = rows(self.gateway, "services"), rows(self.gateway, "backends")
        certain = dict(before.items() & self.world.addressed().items())
        had = holders(services)
        for vip, names in had.items():
            if len(names) > 1:
                self.strays.add(f"{vip} is of {sorted(names)} at once")
            if vip in certain and names != {certain[vip][0]}:
                self.strays.add(f"{vip} is of {sorted(names)}, and by its status {certain[vip][0]} has it")
        for row in backends:
            name, endpoint = row["service"]["name"], f"{row['address']}:{row['port']}"
            if endpoint not in self.world.ever.get(name, ()):
                self.strays.add(f"{endpoint} is of {name}")
        self.vips |= had.keys()
        self.endpoints += len(backends)
        self.looks += 1

    def check(self):
        """Raises what has ended it before its time."""
        if self._fault is not None:
            raise self._fault

    def await_look(self):
        """Until it has seen the gateway once more."""
        seen = self.looks
        wait_until(lambda: self._fault or self.looks > seen, 60, "a look at the gateway")
        self.check()


def cut(world, chance):
    world.cluster.faults.cut_at.append((chance.choice(WATCHED), chance.choice(("before", "inside", "after"))))


def expire(world, chance):
    world.cluster.faults.gone = chance.choice((1, 3, math.inf))


def refuse(world, chance):
    world.cluster.faults.refuse.extend(
        [(chance.choice((401, 429, 503)), {"Retry-After": "1"})] * chance.randrange(1, 3))


def repeat(world, _):
    world.cluster.faults.duplicate = True


def delay(world, chance):
    world.cluster.faults.delay = {chance.choice(WATCHED): 0.3}


def reorder(world, chance):
    world.cluster.faults.hold.add(chance.choice(WATCHED))  # behind the other one


def fall_silent(world, _):
    world.cluster.faults.silent = True  # as connections that are half open


def drip(world, _):
    world.cluster.faults.byte_delay = 0.0005


def skew(world, chance):
    world.cluster.clock.skew = chance.choice((-3_600, 86_400))


def inflate(world, _):
    world.mar(is_huge=True)


def spoil(world, _):
    world.mar(is_huge=False)


def restart(world, _):
    world.cluster.restart()


TROUBLES = (cut, expire, refuse, repeat, delay, reorder, fall_silent, drip, skew, inflate, spoil, restart)


def disturb(world, chance):
    """A fault, or the end of all of them."""
    if chance.random() < CALM:
        calm(world)
    else:
        chance.choice(TROUBLES)(world, chance)


def calm(world):
    faults = world.cluster.faults
    faults.gone, faults.byte_delay, faults.delay = 0, 0, {}
    faults.duplicate = faults.silent = False
    for several in (faults.cut_at, faults.refuse, faults.hold):
        several.clear()
    world.cluster.clock.skew = 0
    world.mend()


def kill(which, adapter, gateway, observer):
    """Without a word, and another takes its place, which has to find out how things are."""
    if which == "gateway":
        with observer.gateway_is_there:
            gateway.kill()
            gateway.start()
    else:
        adapter.process.kill()
        adapter.process.wait()
        adapter.start()


def test_after_thousands_of_changes_under_faults_the_gateway_is_what_the_cluster_says(gateway, tmp_path):
    print(f"SLUICE_SEED={SEED}")
    with Cluster(tmp_path) as cluster, Adapter(tmp_path, [gateway], cluster.kubeconfig()) as adapter:
        world = World(cluster)
        with Observer(world, gateway) as observer:
            for number in range(CHANGES):
                chance = random.Random(f"{SEED}/{number}")  # whatever came before, and took its time
                world.change(chance)
                if number % DISTURBED_EVERY == DISTURBED_EVERY - 1:
                    observer.await_look()
                    disturb(world, chance)
                if number in KILLS:
                    kill(KILLS[number], adapter, gateway, observer)
            calm(world)
            wait_until(lambda: reality(gateway) == world.meaning(), 100, "the gateway agreeing with the cluster")
            assert adapter.process.poll() is None
            balancers = {name for name, kind in world.kinds.items() if kind == "LoadBalancer"}
            wait_until(lambda: {name for name in world.services if ingress(cluster, name)} == balancers, 40,
                       "the statuses")
            addresses = {name: ingress(cluster, name) for name in balancers}
            given = [address for each in addresses.values() for address in each]
            assert len(given) == len(set(given)) == len(balancers), addresses
            told = {vip: {name} for name, (vip,) in addresses.items()}
            wait_until(lambda: holders(rows(gateway, "services")) == told, 20, "the gateway having these addresses")
            observer.await_look()
        observer.check()
        assert observer.strays == set()
        assert observer.looks > max(CHANGES // DISTURBED_EVERY, observer.seconds / 4), "it has looked all the time"
        assert observer.endpoints > 10 * observer.looks and len(observer.vips) >= len(balancers), "and has seen much"
