# SPDX-License-Identifier: Apache-2.0
"""A cluster as the adapter sees it: the test API server with a kubeconfig, objects to put into it,
and sluice-k8s as a process that follows it."""

import contextlib
import copy
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import yaml

from namespaces import CommandFailed, wait_until
from paths import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "kubernetes"))

import tls  # noqa: E402
from apiserver import ApiServer  # noqa: E402
from events import NEW_GROUP, view  # noqa: E402
from resources import RESOURCES  # noqa: E402

ADAPTER = BUILD / "controlplane" / "kubernetes" / "sluice-k8s"
PROVIDER = "east"


def kube_service(name, ports=(("http", "TCP", 80),), kind="LoadBalancer", vips=(), namespace="default",
                 annotations=None, labels=None, finalizers=(), **spec):
    """A Service. `vips`: what its status says. `spec`: further fields, as Kubernetes spells them."""
    made = {
        "metadata": {"name": name, "namespace": namespace} | (
            {"annotations": annotations} if annotations else {}) | (
            {"labels": labels} if labels else {}) | (
            {"finalizers": list(finalizers)} if finalizers else {}),
        "spec": {"type": kind, "ports": [{"name": port_name, "protocol": protocol, "port": port}
                                         for port_name, protocol, port in ports]} | spec,
    }
    if kind == "LoadBalancer":
        made["spec"].setdefault("loadBalancerClass", "sluice.dev/gateway")
    if vips:
        made["status"] = {"loadBalancer": {"ingress": [{"ip": vip, "ipMode": "VIP"} for vip in vips]}}
    return made


def endpoint_slice(service, addresses, ports=(("http", "TCP", 80),), name=None, namespace="default",
                   labels=None, **fields):
    """A slice. `addresses`: each an address, or (address, conditions) or a whole endpoint."""
    def endpoint(given):
        if isinstance(given, dict):
            return given
        address, conditions = (given, {"ready": True}) if isinstance(given, str) else given
        return {"addresses": [address], "conditions": conditions}
    endpoints = [endpoint(given) for given in addresses]
    family = "IPv6" if any(":" in made["addresses"][0] for made in endpoints) else "IPv4"
    return {
        "metadata": {"name": name or f"{service}-{family.lower()}", "namespace": namespace,
                     "labels": {"kubernetes.io/service-name": service} | (labels or {})},
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": port_name, "protocol": protocol, "port": port}
                  for port_name, protocol, port in ports],
    } | fields


def node(name, address, labels=None, **spec):
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec,
            "status": {"addresses": [{"type": "InternalIP", "address": address},
                                     {"type": "Hostname", "address": name}]}}


class Cluster(ApiServer):
    """A context manager. Speaks TLS; `folder` gets its certificate and kubeconfig."""

    def __init__(self, folder, **settings):
        self.folder = pathlib.Path(folder) / "cluster"
        self.folder.mkdir(exist_ok=True)
        context, self.authority = tls.make(self.folder)
        super().__init__(ssl=context, **settings)
        self.asked = []  # (method, path, whether it is a watch, when) of each request

    def kubeconfig(self, token="admin", server=None, authority=None, **user):
        """Written anew each time; returns its path. `server`: another door to it, with its authority."""
        file = self.folder / "kubeconfig"
        file.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "adapter"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": server or self.url, "certificate-authority": str(authority or self.authority)}}],
            "users": [{"name": "adapter", "user": user or {"token": token}}]}))
        return file

    def service(self, *words, **options):
        return self.put("services", kube_service(*words, **options))

    def slice(self, *words, **options):
        return self.put("endpointslices", endpoint_slice(*words, **options))

    def change_type(self, name, kind):
        """Of a service, as who edits it does: what is of the old type alone goes with it."""
        held = self.get("services", name)
        del held["metadata"]["resourceVersion"]
        held["spec"]["type"] = kind
        held["spec"].pop("loadBalancerClass", None)
        if kind == "LoadBalancer":
            held["spec"]["loadBalancerClass"] = "sluice.dev/gateway"
        else:
            held["spec"].pop("allocateLoadBalancerNodePorts", None)
        if kind == "ClusterIP":
            for port in held["spec"]["ports"]:
                port.pop("nodePort", None)
        self.put("services", held)

    def remove(self, plural, name, namespace="default"):
        resource = self._of(plural)

        async def delete():
            self.store.delete(resource, namespace if resource.namespaced else None, name)
        self.call(delete())

    def annotate(self, plural, name, namespace="default", **annotations):
        """What is there, if it is; nobody else's change comes between."""
        resource = self._of(plural)

        async def write():
            held = self.store.objects.get(resource, {}).get((namespace if resource.namespaced else "", name))
            if held is not None:
                thing = copy.deepcopy(held)
                thing["metadata"]["annotations"] = (thing["metadata"].get("annotations") or {}) | annotations
                self.write(plural, thing)
        self.call(write())

    @staticmethod
    def resources():
        return [each for each in RESOURCES if each.group != NEW_GROUP]

    def _of(self, plural):
        return next(each for each in self.resources() if each.plural == plural)

    def get(self, plural, name, namespace="default"):
        """A copy of an object as it is."""
        resource = self._of(plural)

        async def read():
            return copy.deepcopy(self.store.get(resource, namespace if resource.namespaced else None, name))
        return self.call(read())

    def has(self, plural, name, namespace="default"):
        resource = self._of(plural)
        return (namespace if resource.namespaced else "", name) in self.store.objects.get(resource, {})

    def all(self, group):
        """Objects of a group's only resource, as its clients see them."""
        resource = next(each for each in RESOURCES if each.group == group)

        async def read():
            return copy.deepcopy([view(resource, thing)
                                  for thing in self.store.objects.get(resource.stored, {}).values()])
        return self.call(read())

    def count(self, path, watch=False):
        """Lists of a path so far, or watches."""
        return len(self.times(path, watch))

    def times(self, path, watch=False):
        """When each was asked for (time.monotonic)."""
        return [when for *what, when in self.asked if what == ["GET", path, watch]]

    async def _answer(self, request, reply):
        self.asked.append((request.method, request.path, request.flag("watch"), time.monotonic()))
        await super()._answer(request, reply)


class Door:
    """A way to the API server from within a namespace, by a port of its loopback: for an adapter that lives
    where nodes, or another gateway, can be reached. A context manager."""

    def __init__(self, namespace, cluster):
        self._far = urllib.parse.urlsplit(cluster.url)
        self._listener = namespace.socket(socket.SOCK_STREAM, "127.0.0.1")
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()

    @property
    def url(self):
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((self._far.hostname, self._far.port))
                except OSError:
                    near.close()  # there is no server just now
                    continue
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Adapter:
    """sluice-k8s, which follows a cluster for some gateways: each a Gateway, by its socket, or an address."""

    def __init__(self, directory, gateways, kubeconfig, **config):
        self.directory = pathlib.Path(directory)
        self.log_file = self.directory / "sluice-k8s.log"
        addresses = [gateway if isinstance(gateway, str) else f"unix:{gateway.socket}" for gateway in gateways]
        self.config = {"provider": PROVIDER, "kubeconfig": str(kubeconfig), "gateways": addresses} | config
        self.process = None

    def write(self):
        file = self.directory / "sluice-k8s.yaml"
        file.write_text(yaml.safe_dump(self.config))
        return file

    def start(self, namespace=None):
        """In a network namespace, or here."""
        argv = [ADAPTER, "--config", self.write()]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(namespace.argv(*argv) if namespace else argv, stdout=log, stderr=log,
                                            start_new_session=True)
        return self

    def stop(self, seconds=10):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=seconds)
        if code != 0:
            raise CommandFailed(f"sluice-k8s ended with {code}:\n{self.log()}")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


def backends_of(gateway, name, namespace="default", port="http"):
    """{address: state} of a service's port at a gateway."""
    done = gateway.ctl("-n", namespace, "--provider", PROVIDER, "get", "backends", name, "-o", "json",
                       check=False)
    if done.returncode != 0:
        return None
    return {f"{row['address']}:{row['port']}": row["state"]
            for row in json.loads(done.stdout).get("backends", []) if row.get("servicePort", "") == port}


def services_of(gateway):
    """Names of the cluster's services that a gateway has."""
    rows = gateway.get("--provider", PROVIDER, "-A", "get", "services").get("services", [])
    return sorted(f"{row['service']['metadata'].get('namespace', 'default')}/{row['service']['metadata']['name']}"
                  for row in rows)


def await_backends(gateway, name, wanted, seconds=10, **options):
    """`wanted`: {"ADDRESS:PORT": state}."""
    def agree():
        found = backends_of(gateway, name, **options)
        return found == wanted
    try:
        wait_until(agree, seconds, f"{name} having {wanted}")
    except CommandFailed as late:
        raise CommandFailed(f"{late}; it has {backends_of(gateway, name, **options)}") from late
