# SPDX-License-Identifier: Apache-2.0
"""What Roles, ClusterRoles and their bindings let a ServiceAccount do: objects in, rights out."""

GROUP = "rbac.authorization.k8s.io"
KNOWN_OF_A_RULE = {"apiGroups", "resources", "verbs"}


def rights_of(things, namespace, name):
    """{(verb, API group, resource or resource/subresource, namespace)} of a ServiceAccount; namespace None:
    in all of them, and what is in none. As in a cluster, a binding to a role that is not there gives nothing."""
    roles = {(thing["kind"], _namespace(thing), thing["metadata"]["name"]): thing["rules"]
             for thing in things if _is_of(thing, "Role", "ClusterRole")}
    found = set()
    for binding in things:
        if _is_of(binding, "RoleBinding", "ClusterRoleBinding") and _names(binding, namespace, name):
            found |= {right for rule in roles.get(_bound(binding), ()) for right in _rights(rule, _namespace(binding))}
    return found


def _is_of(thing, *kinds):
    return thing["apiVersion"].startswith(f"{GROUP}/") and thing["kind"] in kinds


def _namespace(thing):
    """None: of the whole cluster."""
    return None if thing["kind"].startswith("Cluster") else thing["metadata"].get("namespace", "default")


def _names(binding, namespace, name):
    """Whether it is for this ServiceAccount."""
    return any((subject["kind"], subject.get("apiGroup", ""), subject.get("namespace"), subject["name"]) == (
        "ServiceAccount", "", namespace, name) for subject in binding.get("subjects") or [])


def _bound(binding):
    """The key of its role; a Role is of the binding's own namespace, and none is of the whole cluster."""
    role = binding["roleRef"]
    if role.get("apiGroup") != GROUP:
        return None
    return role["kind"], _namespace(binding) if role["kind"] == "Role" else None, role["name"]


def _rights(rule, namespace):
    """What is not understood is no right that somebody has, and no test goes on without it."""
    words = [word for field in sorted(KNOWN_OF_A_RULE) for word in rule[field]]
    assert rule.keys() == KNOWN_OF_A_RULE and "*" not in words, f"only what is named is understood here: {rule}"
    return {(verb, group, resource, namespace) for verb in rule["verbs"] for group in rule["apiGroups"]
            for resource in rule["resources"]}
