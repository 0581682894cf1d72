# SPDX-License-Identifier: Apache-2.0
"""What a real API server makes of what is written: defaults, allocation, validation (KUBERNETES.md
1.26, 1.28, 1.29, 1.36)."""

import copy
import itertools
import re

from events import NEW_GROUP, fill, to_core
from resources import ApiError, invalid

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NODE_PORTS = range(30000, 32768)


class Semantics:
    """Of one cluster: it gives addresses and node ports away."""

    def __init__(self, store):
        self.store = store
        self._addresses = (f"10.96.{high}.{low}" for high in itertools.count() for low in range(1, 255))
        self._uses = 0

    def admit(self, resource, thing, before):
        """Defaults and checks a whole object; returns it as it is to be stored."""
        if resource.kind == "Service":
            self._service(resource, thing, before)
        elif resource.kind == "Lease":
            self._lease(thing)
        elif resource.kind == "Event":
            return fill(self._new_event(resource, thing, before) if resource.group == NEW_GROUP else thing)
        elif resource.kind == "Deployment":
            thing.setdefault("spec", {}).setdefault("replicas", 1)
        return thing

    def _service(self, resource, thing, before):
        spec = thing.setdefault("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        thing.setdefault("status", {"loadBalancer": {}})
        name = thing["metadata"]["name"]
        external = spec["type"] in ("NodePort", "LoadBalancer")
        if spec["type"] != "ExternalName":
            spec.setdefault("internalTrafficPolicy", "Cluster")
            self._cluster_ip(spec, before)
        was_external = before is not None and before["spec"].get("type") in ("NodePort", "LoadBalancer")
        if was_external and not external and not spec.get("externalIPs"):
            spec.pop("externalTrafficPolicy", None)  # it went with the type
        if external:
            spec.setdefault("externalTrafficPolicy", "Cluster")
        elif "externalTrafficPolicy" in spec and not spec.get("externalIPs"):
            raise invalid(resource, name, "spec.externalTrafficPolicy",
                          "may only be set for externally-accessible services")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
            self._keep_class(resource, name, spec, before)
        else:
            for field in ("loadBalancerClass", "allocateLoadBalancerNodePorts", "healthCheckNodePort"):
                spec.pop(field, None)
            if before and before["spec"].get("type") == "LoadBalancer":
                thing["status"] = {"loadBalancer": {}}  # and the finalizer stays
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
            self._node_port(port, external and spec.get("allocateLoadBalancerNodePorts", True), external, before)

    def _cluster_ip(self, spec, before):
        had = (before or {"spec": {}})["spec"].get("clusterIP")
        if not spec.get("clusterIP"):
            spec["clusterIP"] = had or next(self._addresses)
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        spec.setdefault("ipFamilies", ["IPv6" if ":" in spec["clusterIP"] else "IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    @staticmethod
    def _keep_class(resource, name, spec, before):
        if (before and before["spec"].get("type") == "LoadBalancer"
                and before["spec"].get("loadBalancerClass") != spec.get("loadBalancerClass")):
            raise invalid(resource, name, "spec.loadBalancerClass", "may not change once set")

    def _node_port(self, port, allocates, external, before):
        if not external:
            port.pop("nodePort", None)
        elif "nodePort" not in port and allocates:
            had = [old.get("nodePort") for old in (before or {"spec": {}})["spec"].get("ports", [])
                   if (old["port"], old.get("protocol", "TCP")) == (port["port"], port["protocol"])]
            self._uses += 1
            port["nodePort"] = (had + [None])[0] or NODE_PORTS[86 + self._uses]

    @staticmethod
    def _lease(thing):
        for field in ("acquireTime", "renewTime"):
            value = thing.get("spec", {}).get(field)
            if value is not None and not MICRO_TIME.fullmatch(value):
                raise ApiError(400, "BadRequest", f'parsing time "{value}" as "2006-01-02T15:04:05.000000Z07:00": '
                               f'cannot parse "{value}" as "."')

    @staticmethod
    def _new_event(resource, thing, before):
        """What events.k8s.io/v1 is stricter in: it wants more fields of a new event, and of one that is
        there only its series may change."""
        if before is not None:
            for field in sorted((thing.keys() | before.keys()) - {"metadata", "series", "kind", "apiVersion"}):
                if thing.get(field) != before.get(field):
                    raise invalid(resource, before["metadata"]["name"], field, "field is immutable")
            return to_core(thing)
        name = thing["metadata"].get("name", "")
        if thing["metadata"].get("generateName", "").endswith("."):
            raise invalid(resource, name, "metadata.generateName", "a name must not end in a dot")
        for field in ("eventTime", "reportingController", "reportingInstance", "action", "reason", "type",
                      "regarding"):
            if not thing.get(field):
                raise invalid(resource, name, field, "Required value", "FieldValueRequired")
        if not MICRO_TIME.fullmatch(thing["eventTime"]):
            raise ApiError(400, "BadRequest", f'parsing time "{thing["eventTime"]}"')
        return to_core(thing)

    def status_write(self, resource, held, asked):
        """Of a write to /status only the status and the metadata count (1.26)."""
        thing = copy.deepcopy(held)
        thing["status"] = copy.deepcopy(asked.get("status", held.get("status", {})))
        for field in ("labels", "annotations", "finalizers", "resourceVersion"):
            if field in asked.get("metadata", {}):
                thing["metadata"][field] = asked["metadata"][field]
            elif field != "resourceVersion":
                thing["metadata"].pop(field, None)
        if resource.kind == "Service":
            self._ingress(resource, thing)
        return thing

    @staticmethod
    def _ingress(resource, thing):
        name = thing["metadata"]["name"]
        ingress = thing["status"].get("loadBalancer", {}).get("ingress") or []
        if ingress and thing["spec"].get("type") != "LoadBalancer":
            raise invalid(resource, name, "status.loadBalancer.ingress",
                          "may only be used when `spec.type` is LoadBalancer", "FieldValueForbidden")
        for number, entry in enumerate(ingress):
            if "ip" in entry:
                entry.setdefault("ipMode", "VIP")
            elif "ipMode" in entry:
                raise invalid(resource, name, f"status.loadBalancer.ingress[{number}].ipMode",
                              "may not be specified when `ip` is not set", "FieldValueForbidden")
