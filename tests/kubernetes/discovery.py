# SPDX-License-Identifier: Apache-2.0
"""What there is, as clients discover it (KUBERNETES.md 1.32)."""

from resources import RESOURCES
from scale import KIND


def discovery(path):
    """The answer to a question for groups or resources; None: it is none."""
    groups = sorted({(resource.group, resource.version) for resource in RESOURCES if resource.group})
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": group, "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
             "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version}}
            for group, version in groups]}
    for group, version in groups:
        if path == f"/apis/{group}":
            told = {"groupVersion": f"{group}/{version}", "version": version}
            return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [told],
                    "preferredVersion": told}
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "linux/amd64"}
    here = [resource for resource in RESOURCES if resource.root == path]
    if not here:
        return None
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    listed = []
    for resource in here:
        listed.append({"name": resource.plural, "singularName": resource.kind.lower(), "kind": resource.kind,
                       "namespaced": resource.namespaced, "verbs": verbs, "shortNames": list(resource.short)})
        if resource.has_status:
            listed.append({"name": f"{resource.plural}/status", "singularName": "", "kind": resource.kind,
                           "namespaced": resource.namespaced, "verbs": ["get", "patch", "update"]})
        if resource.has_scale:
            listed.append({"name": f"{resource.plural}/scale", "singularName": "", "namespaced": resource.namespaced,
                           "verbs": ["get", "patch", "update"]} | KIND)
        if resource.kind == "ServiceAccount":
            listed.append({"name": "serviceaccounts/token", "singularName": "", "kind": "TokenRequest",
                           "group": "authentication.k8s.io", "version": "v1", "namespaced": True,
                           "verbs": ["create"]})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": here[0].api_version,
            "resources": listed}
