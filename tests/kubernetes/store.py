# SPDX-License-Identifier: Apache-2.0
"""Objects, their versions and their history: what etcd and the watch cache are to a real API server.
One counter counts for all resources; a version is good for equality only."""

import bisect
import copy
import dataclasses
import uuid

from clock import Clock
from resources import ApiError, conflict, gone, not_found
from stored import Stored


@dataclasses.dataclass
class Change:
    version: int
    type: str  # ADDED, MODIFIED, DELETED
    resource: object
    object: Stored
    before: Stored  # None with ADDED


class Store:
    """What is in it is replaced, never changed. Resources are those that objects are kept as."""

    def __init__(self, clock=None):
        self.clock = clock or Clock()
        self.version = 1
        self.oldest = 1  # changes after this version are remembered
        self.changes = []
        self.objects = {}  # resource -> {(namespace, name): object}
        self.watchers = []  # called with each Change

    def list(self, resource, namespace=None, fits=None):
        """In the order of their keys, as etcd has them. `fits`: of these only those."""
        there = self.objects.get(resource, {})
        return [there[key] for key in sorted(there)
                if namespace in (None, key[0]) and (fits is None or fits(there[key]))]

    def get(self, resource, namespace, name):
        held = self.objects.get(resource, {}).get((namespace or "", name))
        if held is None:
            raise not_found(resource, name)
        return held

    def create(self, resource, namespace, thing):
        meta = thing.setdefault("metadata", {})
        there = self.objects.get(resource, {})
        while "generateName" in meta and "name" not in meta:
            name = meta["generateName"] + uuid.uuid4().hex[:5]
            if (namespace or "", name) not in there:
                meta["name"] = name
        return self._add(resource, (namespace or "", meta["name"]), thing)

    def load(self, resource, things):
        """Many new ones at once, which are the store's from now on: whole, each with a name."""
        for thing in things:
            meta = thing["metadata"]
            self._add(resource, (meta.get("namespace", "default") if resource.namespaced else "", meta["name"]), thing)

    def _add(self, resource, key, thing):
        meta = thing["metadata"]
        if key in self.objects.get(resource, {}):
            raise ApiError(409, "AlreadyExists", f'{resource.plural} "{meta["name"]}" already exists',
                           {"name": meta["name"], "kind": resource.plural})
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.clock.stamp()}
        if key[0]:
            meta["namespace"] = key[0]
        return self._commit("ADDED", resource, key, thing, None)

    def replace(self, resource, namespace, name, thing):
        """`thing` is whole but for what the server alone says. The version in it, if any, must be
        the present one."""
        held = self.get(resource, namespace, name)
        asked = thing.setdefault("metadata", {}).get("resourceVersion")
        if asked and asked != held["metadata"]["resourceVersion"]:
            raise conflict(resource, name)
        for field in ("uid", "creationTimestamp", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds",
                      "resourceVersion", "name"):
            if field in held["metadata"]:
                thing["metadata"][field] = held["metadata"][field]
        if self._named(resource, thing) == held:
            return held  # nothing has changed: no version, no event
        if "deletionTimestamp" in held["metadata"] and not self._is_held(thing):
            return self._remove(resource, (namespace or "", name), thing)
        return self._commit("MODIFIED", resource, (namespace or "", name), thing, held)

    def delete(self, resource, namespace, name, grace_seconds=None):
        """Finalizers hold an object. So does a node its pod, until that is deleted without grace."""
        held = self.get(resource, namespace, name)
        if resource.kind == "Pod" and held.get("spec", {}).get("nodeName"):
            grace = 30 if grace_seconds is None else grace_seconds
        else:
            grace = 0
        if grace == 0 and not held["metadata"].get("finalizers"):
            return self._remove(resource, (namespace or "", name), copy.deepcopy(held))
        if "deletionTimestamp" in held["metadata"]:
            return held
        leaving = copy.deepcopy(held)
        leaving["metadata"] |= {"deletionTimestamp": self.clock.stamp(grace), "deletionGracePeriodSeconds": grace}
        return self._commit("MODIFIED", resource, (namespace or "", name), leaving, held)

    @staticmethod
    def _named(resource, thing):
        return thing | {"kind": resource.kind, "apiVersion": resource.api_version}

    @staticmethod
    def _is_held(thing):
        meta = thing["metadata"]
        return bool(meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"))

    def _remove(self, resource, key, last):
        before = self.objects[resource].pop(key)
        return self._tell("DELETED", resource, Stored(self._named(resource, last)), before)

    def _commit(self, kind, resource, key, thing, before):
        thing = Stored(self._named(resource, thing))
        self.objects.setdefault(resource, {})[key] = thing
        return self._tell(kind, resource, thing, before)

    def _tell(self, kind, resource, thing, before):
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        change = Change(self.version, kind, resource, thing, before)
        self.changes.append(change)
        for watcher in list(self.watchers):
            watcher(change)
        return thing

    def since(self, resource, version):
        """Changes after it, or 410."""
        if version < self.oldest:
            raise gone(version, self.oldest)
        first = bisect.bisect_right(self.changes, version, key=lambda change: change.version)
        return [change for change in self.changes[first:] if change.resource == resource]

    def compact(self):
        """No version up to the present one can be continued from."""
        self.oldest, self.changes = self.version, []

    def restart(self):
        """The watch cache of a new process knows nothing: even the newest version is too old."""
        self.version += 1
        self.compact()
