# SPDX-License-Identifier: Apache-2.0
"""The scale subresource: how many Pods a thing is to have and has, in a form that is the same for all kinds
(autoscaling/v1, which `kubectl scale` asks for)."""

import copy

from resources import invalid

KIND = {"kind": "Scale", "group": "autoscaling", "version": "v1"}


def scale_of(thing):
    """Of a Deployment as it is stored."""
    meta, labels = thing["metadata"], thing["spec"].get("selector", {}).get("matchLabels") or {}
    replicas = thing["spec"].get("replicas", 1)
    return {"kind": KIND["kind"], "apiVersion": f"{KIND['group']}/{KIND['version']}",
            "metadata": {field: meta[field] for field in ("name", "namespace", "uid", "resourceVersion",
                                                          "creationTimestamp")},
            "spec": {"replicas": replicas} if replicas else {},  # as Go leaves a 0 out
            "status": {"replicas": thing.get("status", {}).get("replicas", 0),
                       "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))}}


def scaled(resource, thing, asked):
    """The whole Deployment that a write of its scale means. Only the number counts, and the version, if any."""
    replicas = asked.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        raise invalid(resource, thing["metadata"]["name"], "spec.replicas",
                      f"Invalid value: {replicas}: must be greater than or equal to 0")
    whole = copy.deepcopy(thing)
    whole["spec"]["replicas"] = replicas
    whole["metadata"]["resourceVersion"] = asked.get("metadata", {}).get("resourceVersion")
    return whole
