# SPDX-License-Identifier: Apache-2.0
"""One adapter feeds two gateways, one by its Unix socket and one over TCP with TLS on both sides. Each is
told everything, whatever becomes of the other; and who believes whom can change meanwhile."""

import contextlib
import os
import pathlib
import signal

import pytest

from cluster import Adapter, Cluster, Door, backends_of, services_of, tls
from gateway import SLUICECTL, Gateway, base_config
from kubernetes_lab import await_ingress
from namespaces import wait_until

ADDRESS = "127.0.0.1:5533"
HOST = "192.0.2.2"
VIPS = ["203.0.113.10", "203.0.113.11"]


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as made:
        yield made


@pytest.fixture
def authorities(tmp_path):
    """The old one and the new one."""
    made = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        made.append(tls.Authority(tmp_path / name, name))
    return made


def put(target, *sources):
    """In the place of what is there, at once; several one after the other, as authorities are."""
    fresh = target.with_suffix(".fresh")
    fresh.write_bytes(b"".join(source.read_bytes() for source in sources))
    os.rename(fresh, target)


class Ends:
    """Both ends' files, by the names of the settings. Of each end first its certificate and key, then whom
    it believes."""

    def __init__(self, folder, authority):
        self.gateway, self.adapter = ({field: folder / f"{field}.pem" for field in fields} for fields in (
            ("certificate", "key", "client_authority"),
            ("client_certificate", "client_key", "certificate_authority")))
        self.believe(authority)
        self.identify(authority)

    def believe(self, *authorities):
        for file in (self.gateway["client_authority"], self.adapter["certificate_authority"]):
            put(file, *[authority.certificate for authority in authorities])

    def identify(self, authority):
        for files, issued in ((self.gateway, authority.issue("gateway")),
                              (self.adapter, authority.issue("adapter", names=None))):
            for file, source in zip(files.values(), issued):
                put(file, source)


@pytest.fixture
def ends(tmp_path, authorities):
    folder = tmp_path / "tls"
    folder.mkdir()
    return Ends(folder, authorities[0])


def start_gateway(lab, name, **api):
    directory = pathlib.Path(lab.directory) / name
    directory.mkdir()
    made = Gateway(lab.namespace(name), directory, base_config([("port0", "net_null0", [])], ["192.0.2.1"]))
    made.config["ports"][0] |= {"twin": "none", "addresses": [f"{HOST}/24"],
                                "routes": [{"prefix": "10.0.0.0/8", "gateway": "192.0.2.254"}]}
    made.config["address_pools"] = [{"name": "edge", "addresses": [f"{VIPS[0]}-{VIPS[-1]}"]}]
    made.config["node_port_addresses"] = [HOST]
    made.config["api"] |= api
    return made.start()


@pytest.fixture
def gateways(lab, ends):
    made = {}
    try:
        made["local"] = start_gateway(lab, "local")
        made["remote"] = start_gateway(lab, "remote", tcp={"listen": ADDRESS} | spelled(ends.gateway))
        yield made
    finally:
        for gateway in made.values():
            if gateway.process.poll() is None:
                gateway.stop()


def spelled(files):
    return {field: str(file) for field, file in files.items()}


@pytest.fixture
def adapter(cluster, gateways, ends, tmp_path):
    """Lives where the remote gateway's port is."""
    namespace = gateways["remote"].namespace
    with Door(namespace, cluster) as door:
        made = Adapter(tmp_path, [gateways["local"], ADDRESS], cluster.kubeconfig(server=door.url),
                       tls=spelled(ends.adapter)).start(namespace)
        yield made
        if made.process.poll() is None:
            made.stop()


def serve(cluster, name, address, **options):
    cluster.slice(name, [address])
    cluster.service(name, **options)


def await_active(gateway, name, address, seconds=10):
    wait_until(lambda: [each for each, state in (backends_of(gateway, name) or {}).items() if state == "active"]
               == [f"{address}:80"], seconds, f"{name} at {address}")


def vips(gateway):
    """{service: its VIPs}, of those that have some."""
    found = {}
    for row in gateway.get("--provider", "east", "get", "services").get("services", []):
        ingress = row["service"].get("status", {}).get("loadBalancer", {}).get("ingress", [])
        if ingress:
            found[row["service"]["metadata"]["name"]] = [each["ip"] for each in ingress]
    return found


def answers(gateway, authority, believed):
    """Whether it lets in whoever has a certificate of this authority, and believes that one."""
    certificate, key = authority.issue("operator", names=None)
    done = gateway.namespace.run(SLUICECTL, "--timeout", "3s", "status", check=False, env=os.environ | {
        "SLUICE_SERVER": ADDRESS, "SLUICE_CERTIFICATE_AUTHORITY": str(believed.certificate),
        "SLUICE_CLIENT_CERTIFICATE": str(certificate), "SLUICE_CLIENT_KEY": str(key)})
    return done.returncode == 0


def test_a_service_reaches_a_gateway_by_its_socket_and_one_over_tcp(cluster, gateways, adapter):
    serve(cluster, "web", "10.1.0.1")
    await_ingress(cluster, "web", VIPS[:1])
    for gateway in gateways.values():
        await_active(gateway, "web", "10.1.0.1")
        wait_until(lambda: vips(gateway) == {"web": VIPS[:1]}, 10, "its address")  # noqa: B023
    cluster.slice("web", ["10.1.0.2"])
    for gateway in gateways.values():
        await_active(gateway, "web", "10.1.0.2")
    cluster.remove("services", "web")
    wait_until(lambda: not cluster.has("services", "web"), 10, "the finalizer going")
    assert [vips(gateway) for gateway in gateways.values()] == [{}, {}], "from neither before"
    wait_until(lambda: [services_of(gateway) for gateway in gateways.values()] == [[], []], 5, "it being gone")


def test_authorities_and_certificates_of_both_ends_are_replaced_while_changes_go_on(
        cluster, gateways, ends, authorities, adapter):
    old, new = authorities
    remote = gateways["remote"]
    serve(cluster, "web", "10.1.0.1")
    for gateway in gateways.values():
        await_active(gateway, "web", "10.1.0.1")
    steps = (lambda: ends.believe(old, new), lambda: ends.identify(new), lambda: ends.believe(new))
    for number, step in enumerate(steps, 2):
        step()
        cluster.slice("web", [f"10.1.0.{number}"])
        await_active(remote, "web", f"10.1.0.{number}")  # by the connection that is there
        remote.stop()
        remote.start()  # for the next one who is who is asked again
        cluster.slice("web", [f"10.1.1.{number}"])
        for gateway in gateways.values():
            await_active(gateway, "web", f"10.1.1.{number}", seconds=30)
    assert not answers(remote, old, believed=new), "who has nothing but the old one's"
    assert not answers(remote, new, believed=old)
    assert answers(remote, new, believed=new)
    assert adapter.process.poll() is None


@contextlib.contextmanager
def ended(gateway):
    gateway.stop()
    yield
    gateway.start()


@contextlib.contextmanager
def hanging(gateway):
    """It takes connections, as far as its kernel does, and answers nobody."""
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        gateway.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(("which", "away"), [("local", ended), ("remote", ended), ("remote", hanging)],
                         ids=["local", "remote", "remote hangs"])
def test_a_gateway_that_is_away_holds_up_no_other_and_is_filled_when_it_is_back(
        cluster, gateways, adapter, which, away):
    there = gateways["remote" if which == "local" else "local"]
    serve(cluster, "web", "10.1.0.1")
    serve(cluster, "gone", "10.2.0.1", kind="NodePort")
    await_ingress(cluster, "web", VIPS[:1])
    for gateway in gateways.values():
        for name, address in (("web", "10.1.0.1"), ("gone", "10.2.0.1")):
            await_active(gateway, name, address)
    left = ["default/next", "default/web"]
    with away(gateways[which]):
        cluster.slice("web", ["10.1.0.2"])
        await_active(there, "web", "10.1.0.2", seconds=5)
        cluster.remove("services", "gone")
        serve(cluster, "next", "10.3.0.1")
        await_ingress(cluster, "next", VIPS[1:], seconds=20)
        wait_until(lambda: services_of(there) == left, 5, "the deletion")
    wait_until(lambda: services_of(gateways[which]) == left, 30, "the other one being as this one is")
    for name, address in (("web", "10.1.0.2"), ("next", "10.3.0.1")):
        await_active(gateways[which], name, address)
    assert vips(gateways[which]) == vips(there) == {"web": VIPS[:1], "next": VIPS[1:]}
    assert adapter.process.poll() is None
