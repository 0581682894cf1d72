# SPDX-License-Identifier: Apache-2.0
"""The endpoints of a Service's pods, and the slices that hold them (KUBERNETES.md 1.37): values in,
values out."""

import copy
import json

MANAGED_BY = "endpointslice-controller.k8s.io"
NONE = "null"  # the ports of a slice without endpoints


def endpoints_by_ports(service, pods, zones):
    """{(address family, ports as JSON): [endpoint]}. Pods that resolve a named port differently are in
    slices of their own. `zones`: {node: zone}."""
    found = {}
    for family in service["spec"].get("ipFamilies") or ["IPv4"]:
        for pod in pods:
            address = _address(pod, family)
            if address is not None:
                ports = json.dumps(_ports(service, pod))
                found.setdefault((family, ports), []).append(_endpoint(service, pod, address, zones))
        if not any(held_family == family for held_family, _ in found):
            found[family, NONE] = []
    return found


def _address(pod, family):
    """None: it has none, or has run to its end."""
    status = pod.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    given = [each["ip"] for each in status.get("podIPs") or [] if "ip" in each] or [status.get("podIP")]
    return next((address for address in given if address and (":" in address) == (family == "IPv6")), None)


def _ports(service, pod):
    """A named port is what the pod calls so; a port that it does not have is left out."""
    found = []
    for port in service["spec"].get("ports") or []:
        protocol, target = port.get("protocol", "TCP"), port.get("targetPort", port["port"])
        if isinstance(target, str):
            target = next((each["containerPort"] for container in pod["spec"].get("containers", [])
                           for each in container.get("ports", [])
                           if (each.get("name"), each.get("protocol", "TCP")) == (target, protocol)), None)
        if target is not None:
            found.append({"name": port.get("name", ""), "protocol": protocol, "port": target}
                         | ({"appProtocol": port["appProtocol"]} if "appProtocol" in port else {}))
    return found


def _endpoint(service, pod, address, zones):
    meta = pod["metadata"]
    serving = any(condition["type"] == "Ready" and condition["status"] == "True"
                  for condition in pod["status"].get("conditions") or [])
    terminating = "deletionTimestamp" in meta
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    made = {"addresses": [address],
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}}
    node = pod["spec"].get("nodeName")
    if node:
        made |= {"nodeName": node} | ({"zone": zones[node]} if zones.get(node) else {})
    return made


def fill(service, held, wanted, slice_max):
    """(created, changed, removed) slices, so that those `held` become what is `wanted`. An endpoint
    stays in its slice; a new one goes where there is room."""
    wanted = {key: {endpoint["targetRef"]["uid"]: endpoint for endpoint in endpoints}
              for key, endpoints in wanted.items()}
    kept, removed = [], []
    for old in held:
        key = old["addressType"], json.dumps(old.get("ports"))
        todo = wanted.get(key, {})
        endpoints = [todo.pop(endpoint["targetRef"]["uid"]) for endpoint in old.get("endpoints") or []
                     if endpoint["targetRef"]["uid"] in todo]
        kept.append((old, key, endpoints))
    for _, key, endpoints in kept:
        _move(wanted.get(key, {}), endpoints, slice_max)
    changed = []
    for old, key, endpoints in kept:
        if key[1] == NONE and key in wanted:
            del wanted[key]
        elif not endpoints:
            removed.append(old)
        else:
            changed.append(copy.deepcopy(old) | {"endpoints": endpoints})
    created = []
    for (family, ports), todo in wanted.items():
        while todo or ports == NONE:
            endpoints = []
            _move(todo, endpoints, slice_max)
            created.append(_slice(service, family, json.loads(ports), endpoints or None))
            if not todo:
                break
    return created, changed, removed


def _move(todo, endpoints, slice_max):
    """From what is still to be placed, as much as there is room for."""
    for uid in list(todo)[:max(0, slice_max - len(endpoints))]:
        endpoints.append(todo.pop(uid))


def _slice(service, family, ports, endpoints):
    meta = service["metadata"]
    labels = (meta.get("labels") or {}) | {"kubernetes.io/service-name": meta["name"],
                                           "endpointslice.kubernetes.io/managed-by": MANAGED_BY}
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return {"metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"], "labels": labels,
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": meta["name"],
                                              "uid": meta["uid"], "controller": True,
                                              "blockOwnerDeletion": True}]},
            "addressType": family, "endpoints": endpoints, "ports": ports}
