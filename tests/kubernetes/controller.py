# SPDX-License-Identifier: Apache-2.0
"""Deployments become Pods, and Pods become EndpointSlices, stage by stage (KUBERNETES.md 1.37).

As real controllers and kubelets do it, but for ReplicaSets, which are not there: a Pod is its
Deployment's own. Which address a Pod gets is the test's affair."""

import contextlib
import copy
import hashlib
import itertools
import json
import threading
import time

from endpointslices import MANAGED_BY, endpoints_by_ports, fill

HASH = "pod-template-hash"
RESTARTED = "kubectl.kubernetes.io/restartedAt"


class Controller:
    """`addresses`: an iterator; each new Pod takes the next, or the next list of one for each family.
    Each `step` is one stage of each Deployment: new Pods are there, ready, surplus ones leave, are gone
    `drain_seconds` later. A roll replaces one Pod at a time, and never has fewer ready than asked for.
    `kubelet`: who runs what Pods stand for, if anything. It has `started(pod)`, called before the Pod can be
    ready, and `ended(pod)`, when its time to leave is over and before its endpoint is gone; both in the
    thread that steps, and the server goes on meanwhile."""

    def __init__(self, server, addresses, nodes=("node1",), slice_max=100, drain_seconds=0, kubelet=None):
        self.server, self.store = server, server.store
        self.addresses, self.nodes = iter(addresses), itertools.cycle(nodes)
        self.slice_max, self.drain_seconds, self.kubelet = slice_max, drain_seconds, kubelet
        self._left = {}  # uid of a Pod that leaves: since when
        self._born = []  # Pods of the last step
        self._restarts = itertools.count(1)

    # From the test's thread.

    def step(self):
        """False: there was nothing to do."""
        over = self.server.call(self._over(), 60)
        if self.kubelet is not None:
            for pod in over:
                self.kubelet.ended(pod)
        changed = self.server.call(self._step({pod["metadata"]["uid"] for pod in over}), 60)
        if self.kubelet is not None:
            for pod in self._born:
                self.kubelet.started(pod)
        return changed

    def settle(self, steps_max=10_000):
        """Steps until there is nothing to do; how many it took."""
        for count in range(steps_max):
            if self.step():
                continue
            if not self._left:
                return count
            time.sleep(0.01)  # they take their time
        raise AssertionError(f"not settled after {steps_max} steps")

    @contextlib.contextmanager
    def running(self, every_seconds=0.05):
        """Steps by itself, in a thread."""
        over, failed = threading.Event(), []

        def run():
            try:
                while not over.wait(every_seconds):
                    self.step()
            except Exception as error:  # is the test's
                failed.append(error)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join(60)
        if failed:
            raise failed[0]

    def roll(self, name, namespace="default"):
        """As `kubectl rollout restart`: the steps from here on replace its Pods."""
        restart = f"2026-01-01T00:00:00Z-{next(self._restarts)}"
        self._change("deployments", name, namespace, lambda thing: thing["spec"]["template"].setdefault(
            "metadata", {}).setdefault("annotations", {}).update({RESTARTED: restart}))

    def scale(self, name, replicas, namespace="default"):
        self._change("deployments", name, namespace, lambda thing: thing["spec"].update(replicas=replicas))

    def set_ready(self, pod_name, is_ready, namespace="default"):
        """As its kubelet, when the readiness probe has another outcome."""
        self._change("pods", pod_name, namespace, lambda pod: _become(pod, "Running", is_ready))

    def _change(self, plural, name, namespace, change):
        async def write():
            thing = copy.deepcopy(self.store.get(self.server.resource(plural), namespace, name))
            change(thing)
            self.server.write(plural, thing)
        self.server.call(write())

    def pods(self, namespace="default", **labels):
        """Those with all of these labels, in the order of their names."""
        async def read():
            return copy.deepcopy([pod for pod in self._all("pods", namespace) if _matches(labels, pod)])
        return self.server.call(read())

    # On the server's thread.

    def _all(self, plural, namespace=None):
        return self.store.list(self.server.resource(plural), namespace)

    async def _over(self):
        """Pods that have had their time to leave."""
        now = time.monotonic()
        leaving = [pod for pod in self._all("pods") if _is_of_deployment(pod) and _is_leaving(pod)]
        self._left = {pod["metadata"]["uid"]: self._left.get(pod["metadata"]["uid"], now) for pod in leaving}
        return copy.deepcopy([pod for pod in leaving
                              if now - self._left[pod["metadata"]["uid"]] >= self.drain_seconds])

    async def _step(self, over):
        """`over`: uids of Pods that have ended."""
        before, self._born = self.store.version, []
        deployments = {thing["metadata"]["uid"]: thing for thing in self._all("deployments")}
        owned = {uid: [] for uid in deployments}
        for pod in filter(_is_of_deployment, self._all("pods")):
            owned.setdefault(_owner(pod)["uid"], []).append(pod)
        for uid, pods in owned.items():
            self._advance(deployments.get(uid), pods, over)
        services = self._all("services")
        for service in services:
            if service["spec"].get("selector") and service["spec"].get("type") != "ExternalName":
                self._write_slices(service)
        self._drop_slices_but_of({(service["metadata"].get("namespace"), service["metadata"]["name"])
                                  for service in services})
        return self.store.version != before

    def _advance(self, deployment, pods, over):
        """One stage; `deployment` None: it has been deleted."""
        if deployment is None:
            wanted, digest = 0, None
        else:
            wanted = deployment["spec"].get("replicas", 1)
            digest = _digest(deployment["spec"]["template"])
        leaving = [pod for pod in pods if _is_leaving(pod)]
        staying = [pod for pod in pods if not _is_leaving(pod)]
        old = [pod for pod in staying if pod["metadata"]["labels"].get(HASH) != digest]
        new = [pod for pod in staying if pod not in old]
        unborn = [pod for pod in staying if pod["status"]["phase"] == "Pending"]
        if leaving:
            self._bury([pod for pod in leaving if pod["metadata"]["uid"] in over])
        elif unborn:
            for pod in unborn:
                self.server.write("pods", _become(copy.deepcopy(pod), "Running", True))
        elif len(staying) > wanted and (not old or all(map(_is_ready, new))):
            for pod in (old + new[::-1])[:len(staying) - wanted]:
                self.store.delete(self.server.resource("pods"), pod["metadata"]["namespace"],
                                  pod["metadata"]["name"])
        elif len(staying) < wanted or (old and len(staying) == wanted):
            for _ in range(max(1, wanted - len(staying))):
                self._create(deployment, digest)
        if deployment is not None:
            self._tell_status(deployment, staying, new)

    def _bury(self, ended):
        for pod in ended:
            meta = pod["metadata"]
            self.store.delete(self.server.resource("pods"), meta["namespace"], meta["name"], 0)
            self._left.pop(meta["uid"])

    def _create(self, deployment, digest):
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        given = next(self.addresses, None)
        assert given is not None, "the test has no more addresses for Pods"
        addresses = [given] if isinstance(given, str) else list(given)
        own = template.get("metadata", {})
        pod = {"metadata": {"generateName": f"{meta['name']}-{digest}-", "namespace": meta["namespace"],
                            "labels": own.get("labels", {}) | {HASH: digest},
                            "annotations": own.get("annotations", {}),
                            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"],
                                                 "uid": meta["uid"], "controller": True}]},
               "spec": template.get("spec", {}) | {"nodeName": next(self.nodes)},
               "status": {"podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}}
        self._born.append(copy.deepcopy(self.server.write("pods", _become(pod, "Pending", False))))

    def _tell_status(self, deployment, pods, new):
        ready = len([pod for pod in pods if _is_ready(pod)])
        whole = copy.deepcopy(deployment)
        whole["status"] = {"replicas": len(pods), "updatedReplicas": len(new), "readyReplicas": ready,
                           "availableReplicas": ready}
        self.server.write("deployments", whole)

    def _write_slices(self, service):
        """In the order of a real controller: new ones, changed ones, and then those to go."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        pods = [pod for pod in self._all("pods", namespace) if _matches(service["spec"]["selector"], pod)]
        zones = {node["metadata"]["name"]: node["metadata"].get("labels", {}).get("topology.kubernetes.io/zone")
                 for node in self._all("nodes")}
        held = [held for held in self._all("endpointslices", namespace) if _is_slice_of(held, name)]
        created, changed, removed = fill(service, held, endpoints_by_ports(service, pods, zones), self.slice_max)
        for each in created + changed:
            self.server.write("endpointslices", each)
        for each in removed:
            self.store.delete(self.server.resource("endpointslices"), namespace, each["metadata"]["name"])

    def _drop_slices_but_of(self, services):
        for each in self._all("endpointslices"):
            meta = each["metadata"]
            service = meta.get("labels", {}).get("kubernetes.io/service-name")
            if _is_slice_of(each, service) and (meta["namespace"], service) not in services:
                self.store.delete(self.server.resource("endpointslices"), meta["namespace"], meta["name"])


def _digest(template):
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _owner(thing):
    return next((owner for owner in thing["metadata"].get("ownerReferences") or [] if owner.get("controller")), None)


def _is_of_deployment(pod):
    return (_owner(pod) or {}).get("kind") == "Deployment"


def _is_leaving(pod):
    return "deletionTimestamp" in pod["metadata"]


def _matches(selector, thing):
    return selector.items() <= (thing["metadata"].get("labels") or {}).items()


def _is_slice_of(thing, service):
    """And not one that the test has made itself."""
    labels = thing["metadata"].get("labels") or {}
    return (labels.get("kubernetes.io/service-name") == service
            and labels.get("endpointslice.kubernetes.io/managed-by") == MANAGED_BY)


def _is_ready(pod):
    return any(condition["type"] == "Ready" and condition["status"] == "True"
               for condition in pod["status"].get("conditions", []))


def _become(pod, phase, is_ready):
    pod["status"] |= {"phase": phase,
                      "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}]}
    return pod
