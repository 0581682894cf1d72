# SPDX-License-Identifier: Apache-2.0
"""Rights follow from roles and bindings as in a cluster: by verb, API group, resource and namespace."""

import copy

import pytest

from rbac import GROUP, rights_of

LEASES = ("update", "coordination.k8s.io", "leases", "system")
SERVICES = ("list", "", "services", None)


def role(kind, name, group, resource, verb, namespace=None):
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name} | (
        {"namespace": namespace} if namespace else {}),
            "rules": [{"apiGroups": [group], "resources": [resource], "verbs": [verb]}]}


def binding(kind, role_kind, name, namespace=None):
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name} | (
        {"namespace": namespace} if namespace else {}),
            "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "adapter", "namespace": "system"}]}


@pytest.fixture
def things():
    """In this order: what the tests below break."""
    return [role("ClusterRole", "all", "", "services", "list"),
            binding("ClusterRoleBinding", "ClusterRole", "all"),
            role("Role", "lease", "coordination.k8s.io", "leases", "update", "system"),
            binding("RoleBinding", "Role", "lease", "system"),
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "adapter", "namespace": "system"}}]


def rights(things):
    return rights_of(things, "system", "adapter")


def test_a_cluster_role_is_for_all_namespaces_and_a_role_for_its_own(things):
    assert rights(things) == {SERVICES, LEASES}


def test_a_cluster_role_can_be_bound_for_one_namespace(things):
    things[1] = binding("RoleBinding", "ClusterRole", "all", "shop")
    assert rights(things) == {("list", "", "services", "shop"), LEASES}


@pytest.mark.parametrize(("number", "spoil", "left"), [
    (2, lambda thing: thing["metadata"].update(namespace="default"), {SERVICES}),
    (3, lambda thing: thing["metadata"].update(namespace="default"), {SERVICES}),
    (3, lambda thing: thing["roleRef"].update(name="other"), {SERVICES}),
    (3, lambda thing: thing["roleRef"].update(kind="ClusterRole"), {SERVICES}),
    (3, lambda thing: thing["roleRef"].update(apiGroup=""), {SERVICES}),
    (3, lambda thing: thing["subjects"][0].update(namespace="default"), {SERVICES}),
    (3, lambda thing: thing["subjects"][0].update(name="default"), {SERVICES}),
    (3, lambda thing: thing["subjects"][0].update(kind="User"), {SERVICES}),
    (2, lambda thing: thing["rules"][0].update(apiGroups=[""]), {SERVICES, ("update", "", "leases", "system")}),
    (1, lambda thing: thing["roleRef"].update(kind="Role", name="lease"), {LEASES}),
], ids=["a role of another namespace", "a binding of another namespace", "a name that no role has",
        "a kind that no role of the name has", "a reference to another group", "a subject of another namespace",
        "a subject of another name", "a subject of another kind", "another API group", "a role bound cluster-wide"])
def test_what_does_not_lead_to_a_role_gives_no_right(things, number, spoil, left):
    spoil(things[number])
    assert rights(things) == left


@pytest.mark.parametrize("more", [{"resourceNames": ["web"]}, {"verbs": ["*"]}, {"resources": ["*"]}])
def test_a_rule_that_is_not_understood_is_no_rule_to_pass_over(things, more):
    things[0] = copy.deepcopy(things[0])
    things[0]["rules"][0] |= more
    with pytest.raises(AssertionError, match="only what is named"):
        rights(things)
